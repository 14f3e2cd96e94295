import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { openPacketSocket } from '../kernel/packet-socket.ts';
import { openRoute } from '../kernel/route.ts';
import { connectTcp, listenTcp } from '../kernel/sockets.ts';
import { writeSysctl } from '../kernel/sysctl.ts';
import { needsRoot, testNetns } from '../kernel/test-netns.ts';
import { systemClock } from '../lib/clock.ts';
import { formatAddress, parseAddress } from '../lib/ip.ts';
import { createServer } from 'node:net';
import { createAnnouncer } from './announcer.ts';
import { announcement, answerTo, ETH_IPV6, parseQuestion } from './neighbour-frames.ts';

const MAC = Buffer.from('024800000001', 'hex');

test('whatever comes on the wire is read or left, and never more', () => {
  const types = fc.constantFrom(0x0806, ETH_IPV6, 0x0800);
  fc.assert(
    fc.property(types, fc.uint8Array({ maxLength: 120 }), (type, rest) => {
      const frame = Buffer.concat([Buffer.alloc(14), rest]);
      frame.writeUInt16BE(type, 12);
      const question = parseQuestion(frame);
      if (question) assert.equal(answerTo(question, MAC).length, question.family === 4 ? 42 : 86);
    }),
  );
});

test('an announcement of ARP is a question about the own address, and one of ND is not', () => {
  const four = parseQuestion(announcement(parseAddress('192.0.2.1'), MAC));
  assert.equal(four && formatAddress(four.target), '192.0.2.1');
  assert.deepEqual(four?.target, four?.sender);
  assert.equal(parseQuestion(announcement(parseAddress('2001:db8::1'), MAC)), undefined);
});

const ADDRESSES = ['10.9.1.1', 'fd00:9::1:1'] as const;

/** A client and two nodes on one bridge; the addresses are on `lo` of both nodes, where nobody asks. */
function wire(t: TestContext) {
  const bridge = testNetns(t);
  const switchRoute = openRoute(bridge);
  t.after(() => switchRoute.close());
  switchRoute.addBridge({ name: 'br0', alias: 'test' });
  switchRoute.setLink('br0', { up: true });
  const member = (index: number) => {
    const ns = testNetns(t);
    // Only for addresses of the link that asks.
    writeSysctl(ns, 'net.ipv4.conf.all.arp_ignore', 1);
    switchRoute.addVeth({
      name: `p${index}`,
      alias: 'test',
      peer: { name: 'eth0', netns: ns, mac: `02:48:00:00:00:0${index}` },
    });
    switchRoute.setLink(`p${index}`, { master: 'br0', up: true });
    const route = openRoute(ns);
    t.after(() => route.close());
    route.setLink('eth0', { up: true });
    route.replaceAddress('eth0', `10.9.0.${index}/16`, { nodad: true });
    route.replaceAddress('eth0', `fd00:9::${index}/64`, { nodad: true });
    return { ns, route };
  };
  const client = member(1);
  const nodes = [2, 3].map((index) => {
    const { ns, route } = member(index);
    for (const address of ADDRESSES)
      route.replaceAddress('lo', `${address}/${address.includes(':') ? 128 : 32}`, { nodad: true });
    const server = createServer((socket) => socket.end(`node-${index}`));
    server.listen({ fd: listenTcp(ns, '::', 80) });
    t.after(() => server.close());
    const announcer = createAnnouncer({
      link: route.link('eth0')!,
      openSocket: (options) => openPacketSocket({ ns, ...options }),
      clock: systemClock,
    });
    t.after(() => announcer.close());
    return announcer;
  });
  const ask = async (host: string): Promise<string> => {
    const socket = await connectTcp(client.ns, { host, port: 80, timeoutMs: 5000 });
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text;
  };
  const knows = (address: string) =>
    client.route.neighbours().find((each) => each.address === address && each.mac !== '')?.mac;
  return { ask, nodes, knows };
}

test('an announced address is reached by ARP and ND, and another node takes it over', {
  skip: needsRoot,
}, async (t) => {
  const { ask, nodes, knows } = wire(t);
  const [first, second] = nodes;
  assert.ok(first && second);
  for (const address of ADDRESSES) {
    first.announce(address);
    assert.equal(await ask(address), 'node-2');
  }
  assert.ok(first.answered() >= 2);
  for (const address of ADDRESSES) {
    first.withdraw(address);
    second.announce(address);
    while (knows(address) !== '02:48:00:00:00:03') await systemClock.sleep(5);
    assert.equal(await ask(address), 'node-3');
  }
});

test('what is not announced is nobody', { skip: needsRoot }, async (t) => {
  const { ask, nodes } = wire(t);
  for (const address of ADDRESSES) {
    nodes[0]?.announce(address);
    nodes[0]?.withdraw(address);
  }
  for (const address of ADDRESSES) await assert.rejects(ask(address), { code: 'EHOSTUNREACH' });
});
