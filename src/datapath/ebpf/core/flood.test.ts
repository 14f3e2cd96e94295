import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { createPlan } from '../../plan/plan.ts';
import { openEbpfWith } from '../../testing/ebpf.ts';
import { createLab } from '../../testing/lab.ts';
import { createFlowReader } from './flows.ts';
import { frame } from './testing/frames.ts';

const CACHE = 4096;
const QUIET = 100;
const FLOOD = 20_000;

test('a flood from one pod pushes out its own connections, and nobody else’s; who floods is named', {
  skip: needsRoot,
}, async (t) => {
  const lab = createLab(t, 1);
  const node = lab.nodes[0]!;
  const [loud, quiet, server] = ['loud', 'quiet', 'server'].map((name) => node.addPod(name));
  const size = { flows4: CACHE, flows6: CACHE, crowd4: CACHE, crowd6: CACHE };
  const { programs, prune } = openEbpfWith({ parts: () => [], maxEntries: size })(t, node);
  const plan = createPlan({ node: node.name });
  plan.setSettings(node.settings);
  plan.setLocalPods(node.pods());
  plan.update();
  await prune(plan.state);
  const linkOf = (pod: typeof loud) => node.route.link(pod?.interface ?? '')?.index ?? 0;
  const open = (pod: typeof loud, serial: number) =>
    testRun({
      program: programs.program('from_pod'),
      data: frame({
        src: pod?.addresses[0] ?? '',
        dst: server?.addresses[0] ?? '',
        protocol: 6,
        sport: 1024 + serial,
        dport: 80,
        mac: pod?.mac,
      }),
      context: { ifindex: linkOf(pod) },
      ns: node.ns,
    }).verdict;
  for (let i = 0; i < QUIET; i++) open(quiet, i);
  let refused = 0;
  for (let i = 0; i < FLOOD; i++) if (open(loud, i) !== 7) refused++;
  const reader = createFlowReader(programs);
  const kept = reader.flows().filter(({ src }) => src === quiet?.addresses[0]);
  assert.equal(refused, 0, 'a flood is carried, not refused');
  assert.equal(kept.length, QUIET);
  assert.equal(reader.users()[0]?.link, linkOf(loud));
  const budgets = programs.mapCodecs<{ value: number }, { crowded: bigint }>('flow_budgets');
  const budget = programs.map('flow_budgets').lookup(budgets.key.encode({ value: linkOf(loud) }));
  assert.ok(budget && budgets.value.decode(budget).crowded > 0n);
});
