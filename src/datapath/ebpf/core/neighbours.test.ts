import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpf } from '../../testing/ebpf.ts';
import { OUTSIDE } from '../../testing/lab.ts';
import { frame } from './testing/frames.ts';

const [OK, SHOT] = [0, 2];
const COUNT = 100;

test('a pod makes its node ask for few unknown neighbours, and a gateway that does not answer yet is one', {
  skip: needsRoot,
}, async (t) => {
  const { lab, pod, backends } = await createCluster(t, openEbpf, [['a']]);
  const node = lab.nodes[0]!;
  const a = pod('a');
  const context = { ifindex: node.route.link(a.interface)!.index };
  const program = backends[0]!.programs.program('from_pod');
  const send = (dst: string, sport: number): number => {
    const src = a.addresses[dst.includes(':') ? 1 : 0];
    const data = frame({ src, dst, protocol: 17, sport, dport: 53, mac: a.mac });
    return testRun({ program, data, context, ns: node.ns }).verdict;
  };
  const list = Array.from({ length: COUNT }, (_, i) => i);
  for (const outside of OUTSIDE)
    assert.deepEqual(new Set(list.map((i) => send(outside, 1000 + i))), new Set([OK]));
  assert.equal(send('10.240.0.99', 2000), OK);
  for (const underlay of ['10.240.0.', 'fd00:10:240::'])
    assert.ok(list.map((i) => send(`${underlay}${100 + i}`, 2000)).includes(SHOT));
});
