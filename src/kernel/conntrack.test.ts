import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { test } from 'node:test';
import { openConntrack } from './conntrack.ts';
import { openNft } from './nft.ts';
import { bindUdp } from './sockets.ts';
import { needsRoot, testNetns } from './test-netns.ts';

test('entries show the address asked and the one that answers, and are cut one by one', {
  skip: needsRoot,
}, async (t) => {
  const ns = testNetns(t);
  const nft = openNft(ns);
  nft.run(`table inet t {
    chain out { type nat hook output priority -100; udp dport 53 dnat ip to 127.0.0.1:5353; }
    chain out6 { type filter hook output priority 0; ct state established accept; }
  }`);
  nft.close();
  const [four, six] = [dgram.createSocket('udp4'), dgram.createSocket('udp6')];
  four.bind({ fd: bindUdp(ns, '127.0.0.1', 4000) });
  six.bind({ fd: bindUdp(ns, '::1', 4000) });
  await new Promise((resolve) => four.send('x', 53, '127.0.0.9', resolve));
  await new Promise((resolve) => six.send('x', 54, '::1', resolve));
  const conntrack = openConntrack(ns);
  t.after(() => {
    conntrack.close();
    [four, six].forEach((socket) => socket.close());
  });
  const [entry] = conntrack.list((each) => each.original.dstPort === 53);
  assert.deepEqual(entry?.original, {
    src: '127.0.0.1',
    dst: '127.0.0.9',
    protocol: 17,
    srcPort: 4000,
    dstPort: 53,
  });
  assert.deepEqual(entry.reply, {
    src: '127.0.0.1',
    dst: '127.0.0.1',
    protocol: 17,
    srcPort: 5353,
    dstPort: 4000,
  });
  assert.equal(conntrack.list().filter((each) => each.original.dst === '::1').length, 1);
  assert.equal(
    conntrack.delete((each) => each.reply.srcPort === 5353),
    1,
  );
  assert.deepEqual(
    conntrack.list().map((each) => each.original.dst),
    ['::1'],
  );
  assert.equal(
    conntrack.delete(() => true),
    1,
  );
  assert.equal(
    conntrack.delete(() => true),
    0,
  );
});

test('connections are made as another data path translated them, and what is there stays', {
  skip: needsRoot,
}, (t) => {
  const conntrack = openConntrack(testNetns(t));
  t.after(() => conntrack.close());
  const ends = (src: string, srcPort: number, dst: string, dstPort: number) => ({
    protocol: 6,
    src,
    srcPort,
    dst,
    dstPort,
  });
  const both = [
    {
      original: ends('10.0.0.1', 4000, '10.96.0.1', 80),
      reply: ends('10.0.0.2', 8080, '10.0.0.9', 60_000),
      timeout: 100,
      answered: true,
    },
    {
      original: ends('fd00::1', 4000, 'fd00:96::1', 80),
      reply: ends('fd00::2', 8080, 'fd00::1', 4000),
      timeout: 100,
      answered: true,
    },
  ];
  assert.equal(conntrack.add(both), 2);
  assert.equal(conntrack.add(both), 0);
  const listed = conntrack.list();
  assert.deepEqual(
    listed.map(({ original, reply, tcpState }) => ({ original, reply, tcpState })),
    both.map(({ original, reply }) => ({ original, reply, tcpState: 'established' })),
  );
  // Seen both ways; the source of the first is translated, the destination of both.
  assert.deepEqual(
    listed.map(({ status }) => status & (2 | 16 | 32)),
    [2 | 16 | 32, 2 | 32],
  );
});
