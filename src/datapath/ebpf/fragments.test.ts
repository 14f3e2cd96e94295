/** Fragments made to look harmless to whoever judges them, and to become something else where they are put together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import type { PacketFlow } from '../packet.ts';
import { createCluster } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { settled, witness } from '../testing/packets.ts';
import { fragmentFrame, transportSum } from './core/testing/fragments.ts';
import { rawWriter } from './core/testing/raw.ts';

const options = { skip: needsRoot };
const TCP = 6;
const [SYN, ACK] = [2, 16];
const [SHOT, REDIRECT] = [2, 7];

function segment(src: string, dst: string, dport: number, flags: number): Buffer {
  const out = Buffer.alloc(20);
  out.writeUInt16BE(40_000, 0);
  out.writeUInt16BE(dport, 2);
  out.writeUInt32BE(1, 4);
  out[12] = 5 << 4;
  out[13] = flags;
  out.writeUInt16BE(1024, 14);
  out.writeUInt16BE(transportSum(src, dst, TCP, out), 16);
  return out;
}

const isolated = {
  podSelector: { matchLabels: { app: 'b' } },
  policyTypes: ['Ingress' as const],
  ingress: [{ ports: [{ port: 80 }] }],
};

for (const family of [0, 1] as const)
  test(
    `what stands behind the end of a first fragment is no header of it, IPv${family === 0 ? 4 : 6}`,
    options,
    async (t) => {
      const { pod, setPolicies } = await createCluster(t, openEbpf);
      await setPolicies({ b: isolated });
      const [a, b] = [pod('a'), pod('b')];
      const arrived: PacketFlow[] = [];
      witness(t, b.ns, (flow) => void arrived.push(flow));
      const send = rawWriter(t, a);
      const [src, dst] = [a.addresses[family], b.addresses[family]];
      const frames = (dport: number, split: number, id: number): Buffer[] => {
        const whole = segment(src, dst, dport, SYN);
        const padding = segment(src, dst, dport, ACK).subarray(split);
        const rest = whole.subarray(split);
        const to = { src, dst, mac: a.mac, protocol: TCP, id };
        const first = fragmentFrame({ ...to, offset: 0, more: true, body: whole.subarray(0, split) });
        return [
          Buffer.concat([first, padding]),
          fragmentFrame({ ...to, offset: split, more: false, body: rest }),
        ];
      };
      for (const frame of frames(8080, 8, 1)) send(frame);
      for (const frame of frames(8080, 16, 2)) send(frame);
      // The port that is allowed: a packet of two fragments as they may be.
      const long = Buffer.concat([segment(src, dst, 80, SYN), Buffer.alloc(12)]);
      long.writeUInt16BE(0, 16);
      long.writeUInt16BE(transportSum(src, dst, TCP, long), 16);
      const to = { src, dst, mac: a.mac, protocol: TCP, id: 3 };
      send(fragmentFrame({ ...to, offset: 0, more: true, body: long.subarray(0, 24) }));
      send(fragmentFrame({ ...to, offset: 24, more: false, body: long.subarray(24) }));
      await settled(
        () => arrived.some(({ dport }) => dport === 80),
        () => 'the packet that is allowed',
      );
      assert.deepEqual(
        arrived.filter(({ dport }) => dport === 8080),
        [],
      );
    },
  );

test('no fragment of TCP writes over the header that was judged (RFC 3128)', options, async (t) => {
  const { lab, pod, backends } = await createCluster(t, openEbpf);
  const [a, b] = [pod('a'), pod('b')];
  const context = { ifindex: lab.nodes[0]!.route.link(a.interface)!.index };
  const program = backends[0]!.programs.program('from_pod');
  const verdicts = (family: 0 | 1) => {
    const [src, dst] = [a.addresses[family], b.addresses[family]];
    const to = { src, dst, mac: a.mac, protocol: TCP, id: 9 };
    const body = Buffer.concat([segment(src, dst, 80, SYN), Buffer.alloc(28)]);
    return [0, 8, 16, 24].map((offset) => {
      const data = fragmentFrame({ ...to, offset, more: true, body });
      return testRun({ program, data, context, ns: lab.nodes[0]!.ns }).verdict;
    });
  };
  for (const family of [0, 1] as const) assert.deepEqual(verdicts(family), [REDIRECT, SHOT, SHOT, REDIRECT]);
});
