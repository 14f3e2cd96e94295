import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { openPacketSocket } from './packet-socket.ts';
import { openRoute } from './route.ts';
import { makeTap, openTap } from './tap.ts';
import { needsRoot, testNetns } from './test-netns.ts';
import { createWake } from './wake.ts';

const ETH_P_ALL = 3;
const frameOf = (text: string) =>
  Buffer.concat([Buffer.from('0248000000010248000000028888', 'hex'), Buffer.from(text.padEnd(46))]);

test('frames go in and come out of a TAP that outlives who holds it; two cannot hold it', {
  skip: needsRoot,
}, async (t) => {
  const ns = testNetns(t);
  makeTap(ns, 'line0');
  const route = openRoute(ns);
  t.after(() => route.close());
  route.setLink('line0', { up: true, mtu: 9000 });
  for (const round of [1, 2]) {
    const heard: Buffer[] = [];
    const seen: Buffer[] = [];
    const tap = openTap({ ns, name: 'line0', onFrame: (frame) => heard.push(frame) });
    assert.throws(() => openTap({ ns, name: 'line0', onFrame: () => {} }), /another process holds it/);
    const link = route.link('line0')?.index ?? 0;
    const peer = openPacketSocket({ ns, link, protocol: ETH_P_ALL, onFrame: (frame) => seen.push(frame) });
    const [there, back] = [frameOf(`there ${round}`), frameOf(`back ${round}`)];
    await until(() => peer.send(there));
    await until(() => heard.some((frame) => frame.equals(there)));
    assert.ok(tap.write(back));
    await until(() => seen.some((frame) => frame.equals(back)));
    tap.close();
    peer.close();
    await sleep(1);
  }
});

test('ports of a bridge that are isolated do not reach each other', { skip: needsRoot }, (t) => {
  const ns = testNetns(t);
  const route = openRoute(ns);
  t.after(() => route.close());
  route.addBridge({ name: 'br0' });
  route.addVeth({ name: 'a', peer: { name: 'b' } });
  assert.throws(() => route.setLink('a', { isolated: true }), /change the link a/, 'it is no port yet');
  route.setLink('a', { master: 'br0' });
  route.setLink('a', { isolated: true });
});

test('a wake comes once, not before its time, and a later one takes its place', async () => {
  const began = performance.now();
  const woken: number[] = [];
  const first = new EventTarget();
  const wake = createWake(() => {
    woken.push(performance.now() - began);
    first.dispatchEvent(new Event('woken'));
  });
  wake.in(60_000);
  wake.in(2.5);
  await once(first, 'woken');
  wake.close();
  await sleep(20);
  assert.equal(woken.length, 1);
  assert.ok((woken[0] ?? 0) >= 2.5);
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 6000; i++) {
    if (condition()) return;
    await sleep(10);
  }
  assert.fail('waited for a minute');
}
