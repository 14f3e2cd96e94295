import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpf } from '../../testing/ebpf.ts';
import { GATEWAYS, type LabPod } from '../../testing/lab.ts';
import { frame } from '../core/testing/frames.ts';

const SYN = 2;
const ACK = 16;

test('a client that begins again from the port of a connection whose backend is gone gets another', {
  skip: needsRoot,
}, async (t) => {
  const { lab, pod, backends, setFrontends } = await createCluster(t, openEbpf);
  const node = lab.nodes[0]!;
  const uplink = node.route.link('eth0')!;
  const serve = (by: LabPod) => setFrontends([{ kind: 'NodePort', port: 30_080, pods: [by] }]);
  const ends = { dst: node.settings.nodeAddresses[0] ?? '', sport: 40_000, dport: 30_080 };
  const reached = (tcpFlags: number): string => {
    const data = frame({ src: GATEWAYS[0], ...ends, protocol: 6, tcpFlags });
    data.write(uplink.mac.replaceAll(':', ''), 'hex');
    const program = backends[0]!.programs.program('from_uplink');
    const out = testRun({ program, data, context: { ifindex: uplink.index }, ns: node.ns }).data;
    return out.subarray(30, 34).join('.');
  };
  const [a, b] = [pod('a'), pod('b')];
  await serve(a);
  assert.equal(reached(SYN), a.addresses[0]);
  await serve(b);
  // What lives is left to end, if it can.
  assert.equal(reached(ACK), a.addresses[0]);
  assert.equal(reached(SYN), b.addresses[0]);
  assert.equal(reached(ACK), b.addresses[0]);
});
