import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openRoute } from '../kernel/route.ts';
import { bindUdp } from '../kernel/sockets.ts';
import { needsRoot } from '../kernel/test-netns.ts';
import { capture } from './ebpf/core/testing/odd-lab.ts';
import { createCluster } from './testing/cluster.ts';
import type { LabPod } from './testing/lab.ts';
import { openNftables } from './testing/nftables.ts';
import { tooBig } from './testing/too-big.ts';

const PORT = 9000;
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

test('a pod whose packets do not fit the tunnel is told what does: nftables', {
  skip: needsRoot,
}, async (t) => {
  const cluster = await createCluster(t, openNftables, [['a'], ['b']]);
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
