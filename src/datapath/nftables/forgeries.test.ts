/** Frames that a pod may not send, put on its link as they are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { frame } from '../ebpf/core/testing/frames.ts';
import { rawWriter } from '../ebpf/core/testing/raw.ts';
import { createCluster } from '../testing/cluster.ts';
import { openNftables } from '../testing/nftables.ts';
import { witness } from '../testing/packets.ts';

test('what a pod says that it is not is dropped and counted by name', { skip: needsRoot }, async (t) => {
  const { pod, backends } = await createCluster(t, openNftables);
  const [a, b] = [pod('a'), pod('b')];
  const send = rawWriter(t, a);
  const counts = () =>
    new Map([...(backends[0]?.drops?.() ?? [])].map(([reason, { packets }]) => [reason, packets]));
  const arrived: unknown[] = [];
  witness(t, b.ns, (flow) => void arrived.push(flow));
  const isDropped = (data: Buffer, reason: string, what: string): void => {
    const before = counts();
    send(data);
    // The link hands a frame over at once: it has been judged when it was sent.
    const more = new Map([...counts()].map(([name, packets]) => [name, packets - (before.get(name) ?? 0)]));
    assert.ok((more.get(reason) ?? 0) >= 1, what);
    // The pod's own kernel sends some without an address, when its link comes up.
    const others = [...more].filter(
      ([name, packets]) => packets > 0 && name !== reason && name !== 'spoofed',
    );
    assert.deepEqual(others, [], what);
  };
  const { mac } = a;
  for (const family of [0, 1] as const) {
    const [A, B] = [a.addresses[family], b.addresses[family]];
    const datagram = { src: A, dst: B, protocol: 17, sport: 1000, dport: 9000, mac };
    isDropped(
      frame({ ...datagram, src: family === 0 ? '10.244.0.77' : 'fd00:10:244::77' }),
      'spoofed',
      'a sender',
    );
    isDropped(frame({ ...datagram, mac: b.mac }), 'wrong-mac', 'a MAC address');
    const icmp = frame({ ...datagram, protocol: family === 0 ? 1 : 58 });
    const [type, advertisement, redirect] = family === 0 ? [34, 9, 5] : [54, 134, 137];
    icmp[type] = advertisement;
    isDropped(Buffer.from(icmp), 'router-advertisement', 'a router');
    icmp[type] = redirect;
    isDropped(Buffer.from(icmp), 'redirect', 'a redirect');
  }
  assert.deepEqual(arrived, []);
});
