/** Where associations of SCTP begin and end: chunks that say what flags of TCP say (RFC 9260 section 3.2). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createCluster } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { GATEWAYS, type LabPod } from '../testing/lab.ts';
import { frame } from './core/testing/frames.ts';

const [SHOT, REDIRECT] = [2, 7];
const [DATA, INIT, INIT_ACK, ABORT] = [0, 1, 2, 6];

function packet(src: string, dst: string, sport: number, dport: number, chunk: number): Buffer {
  const data = frame({ src, dst, sport, dport, protocol: 132 });
  data[(src.includes(':') ? 54 : 34) + 12] = chunk;
  return data;
}

test('who only answers associations begins none, from the same ports either', {
  skip: needsRoot,
}, async (t) => {
  const { lab, pod, backends, setPolicies } = await createCluster(t, openEbpf);
  const [a, b] = [pod('a'), pod('b')];
  const node = lab.nodes[0]!;
  const isolated = { podSelector: { matchLabels: { app: 'b' } }, policyTypes: ['Egress' as const] };
  await setPolicies({ isolated });
  const program = backends[0]!.programs.program('from_pod');
  const sent = (from: LabPod, data: Buffer): number => {
    data.write(from.mac.replaceAll(':', ''), 6, 'hex');
    return testRun({
      program,
      data,
      ns: node.ns,
      context: { ifindex: node.route.link(from.interface)!.index },
    }).verdict;
  };
  for (const family of [0, 1] as const) {
    const [A, B] = [a.addresses[family], b.addresses[family]];
    assert.equal(sent(a, packet(A, B, 2000, 80, INIT)), REDIRECT);
    for (const chunk of [INIT_ACK, DATA]) assert.equal(sent(b, packet(B, A, 80, 2000, chunk)), REDIRECT);
    assert.equal(sent(b, packet(B, A, 80, 2000, INIT)), SHOT);
  }
});

test('a client of SCTP that begins again from the port of an association whose backend is gone gets another', {
  skip: needsRoot,
}, async (t) => {
  const { lab, pod, backends, setFrontends } = await createCluster(t, openEbpf);
  const node = lab.nodes[0]!;
  const uplink = node.route.link('eth0')!;
  const serve = (by: LabPod) =>
    setFrontends([{ kind: 'NodePort', protocol: 'SCTP', port: 30_080, pods: [by] }]);
  const program = backends[0]!.programs.program('from_uplink');
  const reached = (chunk: number): string => {
    const data = packet(GATEWAYS[0], node.settings.nodeAddresses[0] ?? '', 40_000, 30_080, chunk);
    data.write(uplink.mac.replaceAll(':', ''), 'hex');
    const out = testRun({ program, data, context: { ifindex: uplink.index }, ns: node.ns }).data;
    return out.subarray(30, 34).join('.');
  };
  const [a, b] = [pod('a'), pod('b')];
  await serve(a);
  assert.equal(reached(INIT), a.addresses[0]);
  await serve(b);
  // What lives is left to end, if it can.
  assert.equal(reached(DATA), a.addresses[0]);
  assert.equal(reached(INIT), b.addresses[0]);
  assert.equal(reached(DATA), b.addresses[0]);
  assert.equal(reached(ABORT), b.addresses[0]);
  await serve(a);
  assert.equal(reached(INIT), a.addresses[0], 'after its end');
});
