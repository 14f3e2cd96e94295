/** Speakers of ours against each other and against peers that misbehave, with time and connections in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createMetrics } from '../lib/metrics.ts';
import { registerBgpMetrics } from './metrics.ts';
import type { PeerConfig } from './config.ts';
import type { Filter } from './rib/filter.ts';
import { fakeNet, type FakeNet, fakeTimers } from './testing/fake.ts';
import { A, B, begin, pair, peerOf } from './testing/pair.ts';
import type { Wire } from './transport.ts';
import {
  createFramer,
  decodeFrame,
  encodeKeepalive,
  encodeMessage,
  encodeOpen,
  encodeRouteRefresh,
  type Message,
} from './wire/message.ts';
import type { PathAttributes } from './wire/attributes.ts';
import { encodeAnnouncement, encodeEndOfRib } from './wire/update-encode.ts';
import type { Capabilities } from './wire/capabilities.ts';

test('two speakers that connect to each other at once keep one connection (RFC 4271 section 6.8)', async () => {
  const { a, b, timers } = pair();
  await timers.advance(5000);
  a.speaker.advertise([{ prefix: '10.244.1.0/24' }, { prefix: 'fd00:10:244:1::/64' }]);
  await timers.advance(1000);
  assert.deepEqual([a.peer().state, b.peer().state], ['established', 'established']);
  assert.deepEqual([a.peer().restarts, b.peer().restarts], [0, 0]);
  assert.deepEqual(
    [...b.kernel.written],
    [
      ['10.244.1.0/24', A],
      ['fd00:10:244:1::/64', 'fd00:1:1::1'],
    ],
  );
  await timers.advance(600_000);
  assert.deepEqual([a.peer().state, a.peer().restarts], ['established', 0], 'keepalives keep it');
  a.speaker.advertise([]);
  await timers.advance(1000);
  assert.equal(b.kernel.written.size, 0);
});

for (const [what, one, other, code, text] of [
  [
    'AS numbers that differ',
    { peerASN: 65009 },
    {},
    'BgpOpenRefused',
    /Bad Peer AS \(the peer says AS 65002, expected 65009\)/,
  ],
  [
    'no family in common',
    { families: ['ipv4'] },
    { families: ['ipv6'] },
    'BgpOpenRefused',
    /Unsupported Capability \(the peer speaks ipv6, expected ipv4\)/,
  ],
] as const)
  test(`refused by name: ${what}`, async () => {
    const { a, b, timers } = pair({ ...one, passive: true }, other);
    await timers.advance(300);
    const error = a.peer().lastError;
    assert.equal(error?.code, code);
    assert.match(error.text, text);
    assert.equal(b.peer().lastError?.code, 'BgpOpenRefused');
    assert.notEqual(a.peer().state, 'established');
  });

test('identifiers that are the same within an AS are refused', async () => {
  const [net, timers] = [fakeNet(), fakeTimers()];
  const a = begin(net, timers, A, { peers: [peerOf(B, 65001)] });
  begin(net, timers, B, { routerId: A, peers: [peerOf(A, 65001)] });
  await timers.advance(2000);
  assert.match(a.peer().lastError?.text ?? '', /Bad BGP Identifier/);
});

test('a shutdown says why; a reset begins again', async () => {
  const { a, b, timers } = pair();
  await timers.advance(5000);
  a.speaker.reset(B, 'new cable');
  await timers.advance(10);
  assert.match(b.peer().lastError?.text ?? '', /Cease: Administrative Reset \("new cable"\)/);
  await timers.advance(60_000);
  assert.deepEqual([a.peer().state, a.peer().restarts, b.peer().restarts], ['established', 1, 1]);
  await a.speaker.close({ words: 'rack 7 moves' });
  await timers.advance(10);
  assert.equal(b.peer().lastError?.code, 'BgpCease');
  assert.match(b.peer().lastError?.text ?? '', /Administrative Shutdown \("rack 7 moves"\)/);
});

test('communities, preferences and filters go as far as they should', async () => {
  const filter: Filter = {
    statements: [
      {
        match: { prefixes: [{ prefix: '10.0.0.0/8', ge: 16, le: 24 }], communities: ['65001:1'] },
        action: 'accept',
        set: {
          localPref: 300,
          addCommunities: ['65002:9', '65002:1:1'],
          removeCommunities: ['65001:1'],
          prepend: 2,
        },
      },
      { match: { family: 'ipv6', asPathContains: [65001] }, action: 'accept' },
    ],
  };
  const { a, b, timers } = pair({}, { importFilter: filter });
  a.speaker.advertise([
    { prefix: '10.1.0.0/16', communities: ['65001:1', '65001:2'], med: 7, localPref: 500 },
    { prefix: '10.2.0.0/16' },
    { prefix: '10.3.3.0/25', communities: ['65001:1'] },
    { prefix: 'fd00:9::/48' },
  ]);
  await timers.advance(5000);
  assert.deepEqual([...b.speaker.routes().keys()], ['10.1.0.0/16', 'fd00:9::/48']);
  const { attributes } = b.speaker.routes().get('10.1.0.0/16')?.[0] ?? assert.fail();
  assert.deepEqual(
    [
      attributes.localPref,
      attributes.med,
      attributes.communities,
      attributes.largeCommunities,
      attributes.asPath,
    ],
    [300, 7, ['65001:2', '65002:9'], ['65002:1:1'], [{ type: 'sequence', as: [65001, 65001, 65001] }]],
  );
  assert.deepEqual([b.peer().prefixes.received, b.peer().prefixes.used, a.peer().prefixes.sent], [4, 2, 4]);
});

test('too many prefixes end the session (RFC 4486)', async () => {
  const { a, b, timers } = pair({}, { maxPrefixes: 1 });
  a.speaker.advertise([{ prefix: '10.1.0.0/16' }, { prefix: '10.2.0.0/16' }]);
  await timers.advance(5000);
  assert.match(b.peer().lastError?.text ?? '', /Maximum Number of Prefixes Reached/);
});

/** A peer by hand: what it has been told, and what it says. */
function hand(
  net: FakeNet,
  { as = 65002, holdTime = 90, gracefulRestart = undefined as Capabilities['gracefulRestart'] } = {},
) {
  const wire: Wire = net.dial(B, A);
  const heard: Message[] = [];
  let isClosed = false;
  const framer = createFramer();
  wire.listen({
    onData(data) {
      for (const frame of framer.push(data))
        heard.push(
          decodeFrame(
            { type: frame.type, body: Uint8Array.from(frame.body) },
            { fourOctetAs: true, external: true, extendedNextHop: false },
          ),
        );
    },
    onDrain() {},
    onClose: () => (isClosed = true),
  });
  const capabilities = {
    families: ['ipv4', 'ipv6'] as const,
    routeRefresh: true,
    fourOctetAs: as,
    gracefulRestart,
    extendedNextHop: false,
    unknown: [],
  };
  return {
    wire,
    heard,
    get isClosed() {
      return isClosed;
    },
    open() {
      wire.send(encodeOpen({ as, holdTime, identifier: B, capabilities }));
      wire.send(encodeKeepalive());
    },
    announce(prefixes: readonly string[], attributes: Partial<PathAttributes> = {}) {
      const path: PathAttributes = { origin: 'igp', asPath: [{ type: 'sequence', as: [as] }], ...attributes };
      const announce = { family: 'ipv4' as const, nextHop: { address: B }, attributes: path, prefixes };
      for (const message of encodeAnnouncement(announce, { fourOctetAs: true })) wire.send(message);
    },
    notifications: () =>
      heard.flatMap((message) => (message.type === 'notification' ? [message.notification] : [])),
  };
}

function one(more: Partial<PeerConfig> = {}) {
  const [net, timers] = [fakeNet(), fakeTimers()];
  const a = begin(net, timers, A, { peers: [peerOf(B, 65002, { passive: true, ...more })] });
  return { ...a, net, timers };
}

async function upWith(options: Parameters<typeof hand>[1] = {}, more: Partial<PeerConfig> = {}) {
  const { net, timers, ...a } = one(more);
  const peer = hand(net, options);
  await timers.advance(10);
  peer.open();
  await timers.advance(10);
  assert.equal(a.peer().state, 'established');
  return { ...a, net, timers, hand: peer };
}

test('a peer that falls silent is given up after the hold time, and told so', async () => {
  const { hand: other, peer, timers } = await upWith({ holdTime: 9 });
  await timers.advance(8900);
  assert.equal(peer().state, 'established');
  await timers.advance(200);
  assert.equal(peer().lastError?.code, 'BgpHoldTimer');
  assert.deepEqual(
    other.notifications().map(({ code }) => code),
    [4],
  );
  // A third of the hold time apart.
  assert.ok(other.heard.filter(({ type }) => type === 'keepalive').length >= 3);
});

test('a peer that connects and says nothing holds nothing up', async () => {
  const { net, timers, peer } = one();
  const silent = hand(net);
  await timers.advance(1000);
  assert.equal(peer().state, 'opensent');
  const other = hand(net);
  await timers.advance(10);
  other.open();
  await timers.advance(10);
  assert.deepEqual([peer().state, silent.isClosed], ['established', true]);
});

test('a malformed attribute withdraws its routes alone, and the session stays (RFC 7606)', async () => {
  const { hand: other, speaker, peer, timers } = await upWith();
  other.announce(['10.8.0.0/16', '10.9.0.0/16']);
  await timers.advance(10);
  assert.equal(speaker.routes().size, 2);
  // ORIGIN 9 for 10.8.0.0/16.
  const list = [0x40, 1, 1, 9, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea, 0x40, 3, 4, 10, 1, 1, 2];
  other.wire.send(encodeMessage(2, Uint8Array.of(0, 0, 0, list.length, ...list, 16, 10, 8)));
  await timers.advance(10);
  assert.deepEqual([...speaker.routes().keys()], ['10.9.0.0/16']);
  const { state, updates } = peer();
  assert.deepEqual([state, updates.withdrawnByError], ['established', 1]);
  assert.match(updates.lastProblem ?? '', /ORIGIN: the value 9.*treat-as-withdraw/);
});

test('routes through ourselves, to nowhere, and from the wrong AS are not used', async () => {
  const { hand: other, speaker, timers } = await upWith();
  other.announce(['10.8.0.0/16'], { asPath: [{ type: 'sequence', as: [65002, 65001] }] });
  other.announce(['127.0.0.0/8', '224.1.0.0/16']);
  other.announce(['10.9.0.0/16'], { asPath: [{ type: 'sequence', as: [65003] }] });
  await timers.advance(10);
  assert.deepEqual([...speaker.routes().keys()], []);
});

for (const [what, octets, code, text] of [
  [
    'octets that are no BGP',
    Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    1,
    /Connection Not Synchronized/,
  ],
  [
    'an OPEN amid the session',
    encodeMessage(1, Uint8Array.of(4, 0xfd, 0xea, 0, 90, 10, 1, 1, 2, 0)),
    5,
    /Unexpected Message in Established/,
  ],
  [
    'prefixes that cannot be read',
    encodeMessage(2, Uint8Array.of(0, 0, 0, 0, 64, 1)),
    3,
    /Invalid Network Field/,
  ],
] as const)
  test(`ends the session by name: ${what}`, async () => {
    const { hand: other, peer, timers } = await upWith();
    other.wire.send(octets);
    await timers.advance(10);
    assert.equal(other.notifications()[0]?.code, code);
    assert.match(peer().lastError?.text ?? '', text);
    assert.equal(other.isClosed, true);
  });

test('whatever a peer sends into a session: it goes on, or ends with a NOTIFICATION, and the next one is taken', async () => {
  const { net, timers, peer } = one();
  const good = encodeAnnouncement(
    {
      family: 'ipv6',
      nextHop: { address: 'fd00:1:1::2' },
      attributes: {
        origin: 'igp',
        asPath: [{ type: 'sequence', as: [65002] }],
        med: 1,
        communities: ['1:2'],
        largeCommunities: ['1:2:3'],
      },
      prefixes: ['fd00:7::/48', 'fd00:8::/64'],
    },
    { fourOctetAs: true },
  )[0];
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.array(edits, { minLength: 1, maxLength: 4 }), async (messages) => {
      const other = hand(net);
      await timers.advance(10);
      other.open();
      await timers.advance(10);
      assert.equal(peer().state, 'established');
      for (const each of messages) {
        const message = Uint8Array.from(good ?? []);
        for (const [at, value] of each) message[at % message.length] = value;
        other.wire.send(message);
      }
      await timers.advance(10);
      const told = other.notifications().map(({ code }) => code);
      assert.ok(peer().state === 'established' ? told.length === 0 : other.isClosed && told.length === 1);
      other.wire.close();
      // The machine may rest after an error.
      await timers.advance(130_000);
    }),
    { numRuns: 150 },
  );
});

test('a peer that restarts keeps its routes, and loses those that it does not tell again (RFC 4724)', async () => {
  const gracefulRestart = {
    restarting: false,
    restartTime: 60,
    families: [{ family: 'ipv4' as const, forwarding: true }],
  };
  const { hand: before, speaker, peer, net, timers } = await upWith({ gracefulRestart });
  before.announce(['10.8.0.0/16', '10.9.0.0/16']);
  await timers.advance(10);
  before.wire.close();
  await timers.advance(50_000);
  assert.deepEqual(
    [peer().prefixes, speaker.routes().size],
    [{ received: 2, used: 2, stale: 2, sent: 0 }, 2],
  );
  const after = hand(net, { gracefulRestart: { ...gracefulRestart, restarting: true } });
  await timers.advance(10);
  after.open();
  after.announce(['10.8.0.0/16']);
  await timers.advance(30_000);
  assert.equal(speaker.routes().size, 2, 'what it has not told yet is kept');
  after.wire.send(encodeEndOfRib('ipv4'));
  await timers.advance(10);
  assert.deepEqual([...speaker.routes().keys()], ['10.8.0.0/16']);
  assert.equal(peer().prefixes.stale, 0);
});

test('a peer that is back without having kept forwarding loses what it told at once', async () => {
  const kept = {
    restarting: false,
    restartTime: 60,
    families: [{ family: 'ipv4' as const, forwarding: true }],
  };
  const { hand: before, speaker, net, timers } = await upWith({ gracefulRestart: kept });
  before.announce(['10.8.0.0/16']);
  await timers.advance(10);
  before.wire.close();
  await timers.advance(1000);
  assert.equal(speaker.routes().size, 1);
  const after = hand(net, {
    gracefulRestart: { ...kept, families: [{ family: 'ipv4', forwarding: false }] },
  });
  await timers.advance(10);
  after.open();
  await timers.advance(10);
  assert.equal(speaker.routes().size, 0);
});

test('a peer that is back before its old connection is known to be gone is taken for restarted', async () => {
  const gracefulRestart = {
    restarting: false,
    restartTime: 60,
    families: [{ family: 'ipv4' as const, forwarding: true }],
  };
  const { hand: before, speaker, peer, net, timers } = await upWith({ gracefulRestart });
  before.announce(['10.8.0.0/16']);
  await timers.advance(10);
  const after = hand(net, { gracefulRestart });
  await timers.advance(10);
  after.open();
  await timers.advance(10);
  assert.deepEqual(
    [peer().state, peer().restarts, speaker.routes().size, before.notifications()],
    ['established', 1, 1, []],
  );
});

test('connections from strangers are closed and counted', async () => {
  const { net, timers, speaker } = one();
  net.dial('10.1.1.99', A);
  await timers.advance(10);
  assert.equal(speaker.status().strangers, 1);
});

test('the status is there as metrics', async () => {
  const { hand: other, speaker, timers } = await upWith();
  other.announce(['10.8.0.0/16']);
  await timers.advance(10);
  const metrics = createMetrics();
  registerBgpMetrics(metrics, () => [{ instance: 'i', ...speaker.status() }]);
  const text = metrics.text();
  for (const line of [
    'heddle_bgp_peer_up{instance="i",peer="10.1.1.2"} 1',
    'heddle_bgp_prefixes{instance="i",kind="used",peer="10.1.1.2"} 1',
    'heddle_bgp_malformed_total{approach="withdraw",instance="i",peer="10.1.1.2"} 0',
    'heddle_bgp_routes_installed{instance="i"} 1',
  ])
    assert.ok(text.includes(line), `${line} in ${text}`);
});

test('ROUTE-REFRESH tells everything once more (RFC 2918)', async () => {
  const { hand: other, speaker, timers } = await upWith();
  speaker.advertise([{ prefix: '10.244.1.0/24' }]);
  await timers.advance(10);
  const told = () =>
    other.heard.filter((message) => message.type === 'update' && message.update.announced.length > 0).length;
  assert.equal(told(), 1);
  other.wire.send(encodeRouteRefresh('ipv4'));
  await timers.advance(10);
  assert.equal(told(), 2);
});
