import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DecodeContext } from './attribute-decode.ts';
import type { PathAttributes } from './attributes.ts';
import { MESSAGE } from './codes.ts';
import {
  createFramer,
  decodeFrame,
  encodeKeepalive,
  encodeMessage,
  encodeNotification,
  encodeOpen,
  encodeRouteRefresh,
  type Frame,
  type Message,
} from './message.ts';
import { BgpError, notificationText, shutdownNotification } from './notification.ts';
import type { Open } from './open.ts';
import { encodeAnnouncement, encodeEndOfRib, encodeWithdrawal } from './update-encode.ts';
import type { Update } from './update-decode.ts';

const context: DecodeContext = { fourOctetAs: true, external: true, extendedNextHop: true };
const framesOf = (data: Uint8Array): Frame[] => [...createFramer().push(data)];

function decode(data: Uint8Array, how: Partial<DecodeContext> = {}): Message {
  const [frame] = framesOf(data);
  assert.ok(frame);
  return decodeFrame(frame, { ...context, ...how });
}

function update(data: Uint8Array, how: Partial<DecodeContext> = {}): Update {
  const message = decode(data, how);
  assert.equal(message.type, 'update');
  return message.type === 'update' ? message.update : assert.fail();
}

/** Without the prototypes of what was drawn. */
const bare = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const as = fc.integer({ min: 1, max: 0xffffffff });
const address4 = fc
  .tuple(fc.integer({ min: 1, max: 126 }), fc.nat(255), fc.nat(255), fc.nat(255))
  .map((parts) => parts.join('.'));
const prefix4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255)).map(([a, b, c]) => `${a}.${b}.${c}.0/24`);
const prefix6 = u16.map((n) => `fd00:${n === 0 ? '1' : n.toString(16)}::/48`);
const communities = fc.array(
  fc.tuple(u16, u16).map((parts) => parts.join(':')),
  { minLength: 1, maxLength: 5 },
);
const large = fc.array(
  fc.tuple(u32, u32, u32).map((parts) => parts.join(':')),
  { minLength: 1, maxLength: 5 },
);
const segment = fc.record({
  type: fc.constantFrom('set' as const, 'sequence' as const),
  as: fc.array(as, { minLength: 1, maxLength: 6 }),
});
const attributes: fc.Arbitrary<PathAttributes> = fc.record(
  {
    origin: fc.constantFrom('igp' as const, 'egp' as const, 'incomplete' as const),
    asPath: fc.array(segment, { maxLength: 4 }),
    med: u32,
    localPref: u32,
    atomicAggregate: fc.constant(true),
    aggregator: fc.record({ as, address: address4 }),
    communities,
    largeCommunities: large.map((list) => [...new Set(list)]),
    extendedCommunities: fc.array(
      fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('hex')),
      { minLength: 1, maxLength: 3 },
    ),
    originatorId: address4,
    clusterList: fc.array(address4, { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['origin', 'asPath'] },
);

const open: fc.Arbitrary<Open> = fc.record({
  as,
  holdTime: fc.constantFrom(0, 3, 90, 65535),
  identifier: address4,
  capabilities: fc.record({
    families: fc.constantFrom<Open['capabilities']['families']>(
      undefined,
      ['ipv4'],
      ['ipv6'],
      ['ipv4', 'ipv6'],
    ),
    routeRefresh: fc.boolean(),
    extendedNextHop: fc.boolean(),
    fourOctetAs: fc.constant(undefined),
    unknown: fc.constant([]),
    gracefulRestart: fc.option(
      fc.record({
        restarting: fc.boolean(),
        restartTime: fc.nat(4095),
        families: fc.constantFrom(
          [],
          [{ family: 'ipv4' as const, forwarding: true }],
          [{ family: 'ipv6' as const, forwarding: false }],
        ),
      }),
      { nil: undefined },
    ),
  }),
});

test('an OPEN is read as it was written', () => {
  fc.assert(
    fc.property(open, (one) => {
      const whole = { ...one, capabilities: { ...one.capabilities, fourOctetAs: one.as } };
      assert.deepEqual(bare(decode(encodeOpen(whole))), bare({ type: 'open', open: whole }));
    }),
  );
});

test('what is announced is read as it was written, in as many messages as it takes', () => {
  fc.assert(
    fc.property(
      attributes,
      fc.uniqueArray(prefix4, { minLength: 1, maxLength: 2500 }),
      fc.uniqueArray(prefix6, { minLength: 1, maxLength: 900 }),
      (path, four, six) => {
        for (const [family, prefixes, nextHop] of [
          ['ipv4', four, { address: '10.0.0.1' }],
          ['ipv6', six, { address: 'fd00::1', linkLocal: 'fe80::1' }],
          ['ipv4', four, { address: 'fd00::1' }],
        ] as const) {
          const messages = encodeAnnouncement(
            { family, nextHop, attributes: path, prefixes },
            { fourOctetAs: true },
          );
          const read = messages.map((message) => update(message, { external: false }));
          assert.deepEqual(
            read.flatMap(({ announced }) => announced.flatMap((one) => one.prefixes)),
            prefixes,
          );
          for (const one of read) {
            assert.deepEqual(bare(one.attributes), bare(path));
            assert.deepEqual([one.announced[0]?.nextHop, one.problems, one.withdrawn], [nextHop, [], []]);
          }
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('a path with AS numbers of four octets survives a speaker that knows two (RFC 6793)', () => {
  const sequence = fc
    .array(as, { minLength: 1, maxLength: 20 })
    .map((list) => [{ type: 'sequence' as const, as: list }]);
  fc.assert(
    fc.property(sequence, fc.record({ as, address: address4 }), (asPath, aggregator) => {
      const path: PathAttributes = { origin: 'igp', asPath, aggregator };
      const announce = {
        family: 'ipv4' as const,
        nextHop: { address: '10.0.0.1' },
        attributes: path,
        prefixes: ['10.1.0.0/16'],
      };
      const [message = new Uint8Array()] = encodeAnnouncement(announce, { fourOctetAs: false });
      assert.deepEqual(bare(update(message, { fourOctetAs: false }).attributes), bare(path));
    }),
  );
});

test('withdrawals, End-of-RIB, KEEPALIVE and ROUTE-REFRESH are read as they were written', () => {
  for (const [family, prefixes] of [
    ['ipv4', ['10.0.0.0/8', '0.0.0.0/0', '192.168.1.1/32']],
    ['ipv6', ['fd00::/48', '::/0', 'fd00::1/128']],
  ] as const) {
    const messages = encodeWithdrawal(family, prefixes).map((message) => update(message));
    assert.deepEqual(
      messages.flatMap(({ withdrawn }) => withdrawn),
      prefixes,
    );
    assert.deepEqual(
      messages.map(({ endOfRib }) => endOfRib),
      [undefined],
    );
    assert.equal(update(encodeEndOfRib(family)).endOfRib, family);
    assert.deepEqual(decode(encodeRouteRefresh(family)), { type: 'route-refresh', family });
  }
  assert.deepEqual(decode(encodeKeepalive()), { type: 'keepalive' });
});

test('a shutdown says why, in at most 255 octets cut at a character (RFC 9003)', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 400 }), (words) => {
      const message = decode(encodeNotification(shutdownNotification(2, words)));
      const { notification } = message.type === 'notification' ? message : assert.fail();
      const told = Buffer.from(notification.data.subarray(1)).toString('utf8');
      assert.ok(notification.data.length <= 256);
      assert.ok(words.startsWith(told));
      assert.ok(Buffer.byteLength(words) - Buffer.byteLength(told) === 0 || notification.data.length > 250);
    }),
  );
  assert.equal(
    notificationText(shutdownNotification(2, 'maintenance\n#42')),
    'Cease: Administrative Shutdown ("maintenance #42")',
  );
  assert.equal(
    notificationText({ code: 6, subcode: 2, data: Uint8Array.of(200, 65) }),
    'Cease: Administrative Shutdown (data c841)',
  );
});

/** Messages are found whole wherever the stream is cut. */
test('a stream cut anywhere gives the same messages', () => {
  const stream = Buffer.concat([
    encodeKeepalive(),
    ...encodeWithdrawal('ipv4', ['10.0.0.0/8']),
    encodeEndOfRib('ipv6'),
  ]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 10 }), (sizes) => {
      const framer = createFramer();
      const frames: Frame[] = [];
      let at = 0;
      for (const size of [...sizes, stream.length]) {
        frames.push(
          ...[...framer.push(stream.subarray(at, at + size))].map(({ type, body }) => ({
            type,
            body: Buffer.from(body),
          })),
        );
        at += size;
      }
      assert.deepEqual(frames, framesOf(stream));
    }),
  );
});

/** Whatever comes: a message, or an error that says which NOTIFICATION to send. */
function decodeOrName(data: Uint8Array, how: DecodeContext): void {
  try {
    for (const frame of createFramer().push(data)) decodeFrame(frame, how);
  } catch (error) {
    assert.ok(error instanceof BgpError, String(error));
    const { code, subcode } = error.notification;
    assert.ok(code >= 1 && code <= 3 && subcode >= 0 && subcode <= 11, error.message);
  }
}

const contexts = fc.record({
  fourOctetAs: fc.boolean(),
  external: fc.boolean(),
  extendedNextHop: fc.boolean(),
});

test('any octets decode, or name the NOTIFICATION that they deserve', () => {
  const body = fc.uint8Array({ maxLength: 200 });
  fc.assert(fc.property(body, contexts, decodeOrName), { numRuns: 2000 });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 6 }), body, contexts, (type, octets, how) =>
      decodeOrName(encodeMessage(type, octets), how),
    ),
    { numRuns: 5000 },
  );
});

test('a good UPDATE with octets changed decodes, or names the NOTIFICATION that it deserves', () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
  const announced = fc.constantFrom(
    { family: 'ipv4' as const, nextHop: { address: '10.0.0.1' }, prefixes: ['10.0.0.0/8', '192.168.0.0/24'] },
    { family: 'ipv6' as const, nextHop: { address: 'fd00::1' }, prefixes: ['fd00::/48', 'fd01::/64'] },
  );
  fc.assert(
    fc.property(attributes, announced, changes, contexts, (path, what, edits, how) => {
      const [message = new Uint8Array()] = encodeAnnouncement({ ...what, attributes: path }, how);
      // Behind the header: a header that is wrong is dealt with before.
      for (const [at, value] of edits) message[19 + (at % (message.length - 19))] = value;
      decodeOrName(message, how);
    }),
    { numRuns: 5000 },
  );
});

const attribute = (flags: number, code: number, ...data: number[]) => [flags, code, data.length, ...data];
const [origin, path, hop] = [
  attribute(0x40, 1, 0),
  attribute(0x40, 2, 2, 1, 0, 0, 0xfd, 0xea),
  attribute(0x40, 3, 10, 0, 0, 1),
];
const prefix = [8, 10];
const mpUnreach = attribute(0x80, 15, 0, 2, 1, 16, 0xfd, 0);

function message(list: number[], prefixes: number[] = prefix): Uint8Array {
  return encodeMessage(
    MESSAGE.UPDATE,
    Uint8Array.of(0, 0, list.length >> 8, list.length & 255, ...list, ...prefixes),
  );
}

for (const [what, list] of [
  ['ORIGIN of an unknown value', [...attribute(0x40, 1, 3), ...path, ...hop]],
  ['ORIGIN of two octets', [...attribute(0x40, 1, 0, 0), ...path, ...hop]],
  ['ORIGIN with flags of an optional attribute', [...attribute(0xc0, 1, 0), ...path, ...hop]],
  ['no ORIGIN', [...path, ...hop]],
  ['no AS_PATH', [...origin, ...hop]],
  ['no NEXT_HOP', [...origin, ...path]],
  ['AS_PATH with an empty segment', [...origin, ...attribute(0x40, 2, 2, 0), ...hop]],
  ['AS_PATH cut off', [...origin, ...attribute(0x40, 2, 2, 2, 0, 0, 0, 1), ...hop]],
  ['AS_PATH of a confederation', [...origin, ...attribute(0x40, 2, 3, 1, 0, 0, 0, 1), ...hop]],
  ['AS_PATH with AS 0', [...origin, ...attribute(0x40, 2, 2, 1, 0, 0, 0, 0), ...hop]],
  ['NEXT_HOP of three octets', [...origin, ...path, ...attribute(0x40, 3, 10, 0, 0)]],
  ['NEXT_HOP that is no host', [...origin, ...path, ...attribute(0x40, 3, 224, 0, 0, 1)]],
  ['MED of three octets', [...origin, ...path, ...hop, ...attribute(0x80, 4, 0, 0, 0)]],
  ['communities of three octets', [...origin, ...path, ...hop, ...attribute(0xc0, 8, 0, 0, 0)]],
  ['no communities in the attribute', [...origin, ...path, ...hop, ...attribute(0xc0, 8)]],
  [
    'large communities of eight octets',
    [...origin, ...path, ...hop, ...attribute(0xc0, 32, 0, 0, 0, 0, 0, 0, 0, 0)],
  ],
  ['an attribute longer than the list', [...origin, ...path, ...hop, 0xc0, 8, 200, 0]],
] as const)
  test(`treat-as-withdraw: ${what}`, () => {
    const read = update(message([...list]));
    assert.deepEqual([read.withdrawn, read.announced], [['10.0.0.0/8'], []]);
    assert.equal(read.problems[0]?.approach, 'withdraw');
  });

for (const [what, list] of [
  ['ATOMIC_AGGREGATE of one octet', attribute(0x40, 6, 0)],
  ['AGGREGATOR of six octets', attribute(0xc0, 7, 0, 1, 10, 0, 0, 1)],
  ['LOCAL_PREF from another AS', attribute(0x40, 5, 0, 0, 0, 200)],
  ['ORIGINATOR_ID from another AS', attribute(0x80, 9, 1)],
  ['CLUSTER_LIST from another AS', attribute(0x80, 10, 1)],
  ['AS4_PATH from a speaker of four octets', attribute(0xc0, 17, 2, 1, 0, 0, 0, 1)],
  ['a second ORIGIN', attribute(0x40, 1, 1)],
] as const)
  test(`attribute discard: ${what}`, () => {
    const read = update(message([...origin, ...path, ...hop, ...list]));
    assert.deepEqual(
      read.announced.flatMap(({ prefixes }) => prefixes),
      ['10.0.0.0/8'],
    );
    assert.deepEqual(
      read.problems.map(({ approach }) => approach),
      ['discard'],
    );
    assert.deepEqual(read.attributes, { origin: 'igp', asPath: [{ type: 'sequence', as: [65002] }] });
  });

for (const [what, octets, error] of [
  [
    'a prefix of 33 bits',
    message([...origin, ...path, ...hop], [33, 1, 2, 3, 4, 5]),
    /Invalid Network Field/,
  ],
  ['a prefix that is cut off', message([...origin, ...path, ...hop], [24, 1]), /Invalid Network Field/],
  [
    'attributes longer than the message',
    encodeMessage(2, Uint8Array.of(0, 0, 0, 9, 1)),
    /Malformed Attribute List/,
  ],
  [
    'withdrawn routes longer than the message',
    encodeMessage(2, Uint8Array.of(0, 9, 0, 0)),
    /Malformed Attribute List/,
  ],
  [
    'MP_UNREACH twice',
    message([...mpUnreach, ...mpUnreach], []),
    /Malformed Attribute List \(MP_UNREACH twice/,
  ],
  [
    'MP_REACH with a next hop of seven octets',
    message([...origin, ...path, ...attribute(0x80, 14, 0, 2, 1, 7, 1, 2, 3, 4, 5, 6, 7, 0)], []),
    /Optional Attribute Error/,
  ],
  [
    'a broken attribute and nothing announced',
    message([...attribute(0x40, 1, 3), ...path], []),
    /Malformed Attribute List \(ORIGIN: the value 3.*no prefix/,
  ],
  [
    'an unknown well-known attribute',
    message([...origin, ...path, ...hop, ...attribute(0x40, 99, 1)]),
    /Unrecognized Well-known Attribute/,
  ],
] as const)
  test(`the session ends: ${what}`, () => {
    assert.throws(
      () => decode(octets),
      (thrown) => thrown instanceof BgpError && error.test(thrown.message),
    );
  });

test('an unknown transitive attribute is carried with the partial flag, another unknown one is not', () => {
  const read = update(
    message([...origin, ...path, ...hop, ...attribute(0xc0, 99, 7), ...attribute(0x80, 98, 7)]),
  );
  assert.deepEqual(read.attributes?.unknown, [{ code: 99, flags: 0xe0, data: Uint8Array.of(7) }]);
  assert.deepEqual(read.problems, []);
});

for (const [what, octets, error] of [
  ['the marker', Buffer.alloc(19), /Connection Not Synchronized/],
  [
    'a length beyond 4096',
    Buffer.concat([Buffer.alloc(16, 255), Uint8Array.of(16, 1, 2)]),
    /Bad Message Length \(4097/,
  ],
  ['a length below the least', encodeMessage(MESSAGE.OPEN, new Uint8Array(5)), /Bad Message Length/],
  [
    'a KEEPALIVE with something in it',
    encodeMessage(MESSAGE.KEEPALIVE, new Uint8Array(1)),
    /Bad Message Length/,
  ],
  ['a type that is none', encodeMessage(9), /Bad Message Type/],
  [
    'version 3',
    encodeMessage(MESSAGE.OPEN, Uint8Array.of(3, 0, 1, 0, 90, 1, 1, 1, 1, 0)),
    /Unsupported Version/,
  ],
  ['AS 0', encodeMessage(MESSAGE.OPEN, Uint8Array.of(4, 0, 0, 0, 90, 1, 1, 1, 1, 0)), /Bad Peer AS/],
  [
    'a hold time of 2 s',
    encodeMessage(MESSAGE.OPEN, Uint8Array.of(4, 0, 1, 0, 2, 1, 1, 1, 1, 0)),
    /Unacceptable Hold Time/,
  ],
  [
    'the identifier 0.0.0.0',
    encodeMessage(MESSAGE.OPEN, Uint8Array.of(4, 0, 1, 0, 90, 0, 0, 0, 0, 0)),
    /Bad BGP Identifier/,
  ],
  [
    'a parameter that is none',
    encodeMessage(MESSAGE.OPEN, Uint8Array.of(4, 0, 1, 0, 90, 1, 1, 1, 1, 2, 1, 0)),
    /Unsupported Optional Parameter/,
  ],
] as const)
  test(`refused by name: ${what}`, () => {
    assert.throws(
      () => decode(octets),
      (thrown) => thrown instanceof BgpError && error.test(thrown.message),
    );
  });
