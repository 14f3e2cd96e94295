import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { readLinkStats } from './link-stats.ts';
import { openRoute } from './route.ts';
import { bindUdp } from './sockets.ts';
import { needsRoot, testNetns } from './test-netns.ts';

test('both ends of a link count the same packets, one as sent and one as received', {
  skip: needsRoot,
}, async (t) => {
  const [a, b] = [testNetns(t), testNetns(t)];
  const [left, right] = [openRoute(a), openRoute(b)];
  t.after(() => [left, right].forEach((route) => route.close()));
  left.addVeth({ name: 'left', peer: { name: 'right', netns: b } });
  for (const [route, name, address] of [
    [left, 'left', '10.9.0.1/24'],
    [right, 'right', '10.9.0.2/24'],
  ] as const) {
    route.setLink(name, { ipv6Addresses: 'none' });
    route.replaceAddress(name, address);
    route.setLink(name, { up: true });
  }
  const socket = dgram.createSocket('udp4');
  t.after(() => socket.close());
  socket.bind({ fd: bindUdp(a, '10.9.0.1', 0) });
  const stats = (ns: typeof a, name: string) => readLinkStats(ns).find((each) => each.name === name);
  const sent = () => stats(a, 'left')?.transmitted;
  const got = () => stats(b, 'right')?.received;
  // A link that was set up a moment ago drops what it is given until the kernel has seen that it has a carrier.
  await until(() => {
    socket.send('x'.repeat(100), 9, '10.9.0.2');
    return (sent()?.bytes ?? 0) >= 20 * 142;
  });
  assert.ok((sent()?.packets ?? 0) >= 20, JSON.stringify(sent()));
  await until(() => isDeepStrictEqual(got(), sent()));
  assert.ok(readLinkStats(a).some(({ name }) => name === 'lo'));
});

async function until(done: () => boolean): Promise<void> {
  const end = performance.now() + 60_000;
  while (!done()) {
    assert.ok(performance.now() < end, 'waited in vain');
    await sleep(1);
  }
}
