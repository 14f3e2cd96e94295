import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openRoute } from '../kernel/route.ts';
import { bindUdp } from '../kernel/sockets.ts';
import { needsRoot } from '../kernel/test-netns.ts';
import { capture } from './ebpf/core/testing/odd-lab.ts';
import { createCluster, type OpenBackend } from './testing/cluster.ts';
import { openEbpf } from './testing/ebpf.ts';
import type { LabPod } from './testing/lab.ts';
import { openNftables } from './testing/nftables.ts';

const PORT = 9000;
/** Ethernet header. */
const L2 = 14;

/** The MTU that an ICMP error names, and what packet of ours it is about; undefined for any other frame. */
function tooBig(frame: Buffer): { family: 4 | 6; mtu: number; length: number } | undefined {
  const icmp = L2 + (frame.readUInt16BE(12) === 0x0800 ? 20 : 40);
  if (frame.length < icmp + 8 + 20) return undefined;
  // RFC 1191 section 4: destination unreachable, fragmentation needed and DF set; the MTU in the low 16 bits.
  if (icmp === L2 + 20 && frame[L2 + 9] === 1 && frame[icmp] === 3 && frame[icmp + 1] === 4)
    return { family: 4, mtu: frame.readUInt16BE(icmp + 6), length: frame.readUInt16BE(icmp + 8 + 2) };
  // RFC 4443 section 3.2: packet too big, MTU in 32 bits.
  if (icmp === L2 + 40 && frame[L2 + 6] === 58 && frame[icmp] === 2)
    return { family: 6, mtu: frame.readUInt32BE(icmp + 4), length: 40 + frame.readUInt16BE(icmp + 8 + 4) };
  return undefined;
}

/** Whole IP packets of UDP, whatever the kernel has learned of the path. */
function sender(t: TestContext, { ns }: LabPod, family: 4 | 6): (to: string, length: number) => void {
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
  socket.on('error', () => {});
  socket.bind({ fd: bindUdp(ns, family === 4 ? '0.0.0.0' : '::', 0, { whole: true, v6Only: true }) });
  t.after(() => void socket.close());
  const headers = (family === 4 ? 20 : 40) + 8;
  return (to, length) => socket.send(Buffer.alloc(length - headers), PORT, to, () => {});
}

function receiver(t: TestContext, { ns }: LabPod, address: string): number[] {
  const lengths: number[] = [];
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data) => void lengths.push(data.length));
  socket.bind({ fd: bindUdp(ns, address, PORT) });
  t.after(() => void socket.close());
  return lengths;
}

/** Sends until something has come of it: a node tells one sender so often and no more. */
async function sending(send: () => void, done: () => boolean): Promise<void> {
  for (let i = 0; i < 600 && !done(); i++) {
    send();
    for (let wait = 0; wait < 20 && !done(); wait++) await sleep(5);
  }
  assert.ok(done(), 'nothing came of it');
}

for (const [name, open] of [
  ['eBPF', openEbpf],
  ['nftables', openNftables],
] as const)
  test(`a pod whose packets do not fit the tunnel is told what does: ${name}`, {
    skip: needsRoot,
  }, async (t) => {
    const cluster = await createCluster(t, open as OpenBackend, [['a'], ['b']]);
    const [a, b] = [cluster.pod('a'), cluster.pod('b')];
    // As a pod's own configuration of its network may have it, or an image that sets an MTU.
    for (const pod of [a, b]) {
      const inside = openRoute(pod.ns);
      inside.setLink('eth0', { mtu: 1500 });
      inside.close();
      cluster.lab.nodes.find((node) => node.name === pod.node)?.route.setLink(pod.interface, { mtu: 1500 });
    }
    const frames = capture(t, a.ns);
    for (const family of [4, 6] as const) {
      const to = b.addresses[family === 4 ? 0 : 1];
      const send = sender(t, a, family);
      const heard = receiver(t, b, to);
      const told = () =>
        frames.map((frame) => tooBig(frame)).find((each) => each?.family === family && each.length === 1500);
      await sending(
        () => send(to, 1500),
        () => told() !== undefined,
      );
      assert.equal(told()?.mtu, 1450);
      await sending(
        () => send(to, 1450),
        () => heard.length > 0,
      );
      assert.deepEqual(
        [...new Set(heard)],
        [1450 - (family === 4 ? 28 : 48)],
        'none of the larger ones, no part of one',
      );
    }
  });
