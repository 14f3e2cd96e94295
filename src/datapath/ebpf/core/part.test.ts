import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../../kernel/test-netns.ts';
import type { Overlay } from '../../overlay.ts';
import { applyChanges, emptyState } from '../../plan/tables.ts';
import { createPlan } from '../../plan/plan.ts';
import { openEbpfWith } from '../../testing/ebpf.ts';
import { createLab } from '../../testing/lab.ts';
import { createCorePart } from './part.ts';

test('flows of a pod that has gone are judged again, also where the rest of the change fails', {
  skip: needsRoot,
}, async (t) => {
  const node = createLab(t, 1).nodes[0]!;
  node.addPod('a');
  const { programs } = openEbpfWith({ parts: () => [] })(t, node);
  let works = true;
  const overlay: Overlay = {
    apply() {
      if (!works) throw new Error('no more room');
    },
    prune: () => [],
    verify: () => [],
  };
  const core = createCorePart({ programs, ns: node.ns, route: node.route, overlay });
  const plan = createPlan({ node: node.name });
  plan.setSettings(node.settings);
  plan.setLocalPods(node.pods());
  const state = emptyState();
  applyChanges(state, plan.update());
  core.prune(state);
  const generation = () => programs.control('generation').get('number');
  const before = generation();
  plan.setLocalPods([]);
  works = false;
  assert.throws(() => core.apply(plan.update()), /no more room/);
  assert.notEqual(generation(), before);
});
