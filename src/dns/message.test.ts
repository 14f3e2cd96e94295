import assert from 'node:assert/strict';
import { test } from 'node:test';
import packet from 'dns-packet';
import fc from 'fast-check';
import { formatAddress, fromBytes } from '../lib/ip.ts';
import { decodeMessage, encodeMessage, type Message, query, RCODE } from './message.ts';
import { FormatError } from './name.ts';
import { type ResourceRecord, TYPE } from './record.ts';

/** Objects as literals make them, with a prototype. */
const object = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { noNullPrototype: true });

const label = fc.stringMatching(/^[a-z0-9_-]{1,12}$/);
const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));
const u16 = fc.nat(0xffff);
const u32 = fc.nat(0x7fffffff);
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

const data = fc.oneof(
  bytes(4).map((address) => ({ type: 'A' as const, address })),
  bytes(16).map((address) => ({ type: 'AAAA' as const, address })),
  object({ type: fc.constantFrom('NS' as const, 'CNAME' as const, 'PTR' as const), target: name }),
  object({ type: fc.constant('SRV' as const), priority: u16, weight: u16, port: u16, target: name }),
  object({
    type: fc.constant('SOA' as const),
    mname: name,
    rname: name,
    serial: u32,
    refresh: u32,
    retry: u32,
    expire: u32,
    minimum: u32,
  }),
  fc
    .array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 3 })
    .map((texts) => ({ type: 'TXT' as const, texts })),
);
const record: fc.Arbitrary<ResourceRecord> = fc
  .tuple(name, u32, data)
  .map(([name, ttl, data]) => ({ name, class: 1, ttl, ...data }));
const records = fc.array(record, { maxLength: 6 });
const edns = fc.option(
  object({
    udpSize: fc.integer({ min: 512, max: 4096 }),
    version: fc.constant(0),
    dnssecOk: fc.boolean(),
    options: fc.array(
      object({ code: fc.integer({ min: 20_000, max: 30_000 }), data: fc.uint8Array({ maxLength: 10 }) }),
      { maxLength: 2 },
    ),
  }),
  { nil: undefined },
);
const message: fc.Arbitrary<Message> = object({
  id: u16,
  response: fc.boolean(),
  opcode: fc.constant(0),
  authoritative: fc.boolean(),
  truncated: fc.constant(false),
  recursionDesired: fc.boolean(),
  recursionAvailable: fc.boolean(),
  authenticData: fc.boolean(),
  checkingDisabled: fc.boolean(),
  rcode: fc.nat(10),
  questions: fc.array(object({ name, type: fc.constantFrom(1, 28, 33, 12), class: fc.constant(1) }), {
    maxLength: 2,
  }),
  answers: records,
  authorities: records,
  additionals: records,
  edns,
});

test('a message survives encoding and decoding', () => {
  fc.assert(fc.property(message, (m) => assert.deepEqual(decodeMessage(encodeMessage(m)), m)));
});

/** A record as the oracle shows it. */
function asOracle(record: ResourceRecord): unknown {
  const { name, ttl } = record;
  const base = { name, type: record.type, ttl, class: 'IN', flush: false };
  switch (record.type) {
    case 'A':
    case 'AAAA':
      return { ...base, data: formatAddress(fromBytes(record.address)) };
    case 'NS':
    case 'CNAME':
    case 'PTR':
      return { ...base, data: record.target };
    case 'SRV': {
      const { priority, weight, port, target } = record;
      return { ...base, data: { priority, weight, port, target } };
    }
    case 'SOA': {
      const { mname, rname, serial, refresh, retry, expire, minimum } = record;
      return { ...base, data: { mname, rname, serial, refresh, retry, expire, minimum } };
    }
    case 'TXT':
      return { ...base, data: record.texts.map((text) => Buffer.from(text)) };
    default:
      return assert.fail();
  }
}

/** The oracle writes IPv6 addresses its own way. */
function normalised(records: readonly unknown[]): unknown[] {
  return (records as packet.Answer[])
    .filter((record) => record.type !== 'OPT')
    .map((record) => (record.type === 'AAAA' ? { ...record, data: canonical(record.data) } : { ...record }));
}
const canonical = (text: string) => {
  const decoded = decodeMessage(
    packet.encode({ type: 'response', answers: [{ type: 'AAAA', name: 'x', data: text }] }),
  );
  const [first] = decoded.answers;
  return first?.type === 'AAAA' ? formatAddress(fromBytes(first.address)) : '';
};

test('another codec reads what this one writes, and the other way round', () => {
  fc.assert(
    fc.property(message, (m) => {
      const theirs = packet.decode(encodeMessage(m));
      assert.equal(theirs.id, m.id);
      assert.deepEqual(
        theirs.questions?.map(({ name, type }) => [name, type]),
        m.questions.map(({ name, type }) => [name, { 1: 'A', 28: 'AAAA', 33: 'SRV', 12: 'PTR' }[type]]),
      );
      for (const section of ['answers', 'authorities', 'additionals'] as const)
        assert.deepEqual(normalised(theirs[section] ?? []), m[section].map(asOracle));
      const opt = theirs.additionals?.find((each) => each.type === 'OPT');
      assert.equal(opt?.udpPayloadSize, m.edns?.udpSize);
      const again = decodeMessage(packet.encode(theirs));
      for (const section of ['answers', 'authorities', 'additionals'] as const)
        assert.deepEqual(again[section], m[section]);
    }),
  );
});

test('no bytes make the decoder do anything but decode or refuse', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
      try {
        decodeMessage(data);
      } catch (error) {
        assert.ok(error instanceof FormatError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

test('a message with any one byte changed, or cut anywhere, is decoded or refused', () => {
  fc.assert(
    fc.property(message, u16, fc.nat(255), u16, (m, at, byte, cut) => {
      const data = encodeMessage(m);
      data[at % data.length] = byte;
      try {
        decodeMessage(data.subarray(0, cut % (data.length + 1)));
        decodeMessage(data);
      } catch (error) {
        assert.ok(error instanceof FormatError, String(error));
      }
    }),
  );
});

test('any bytes survive in a label', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 63 }), { maxLength: 3 }), (labels) => {
      const wire = Buffer.concat([...labels.flatMap((l) => [Uint8Array.of(l.length), l]), Uint8Array.of(0)]);
      const head = encodeMessage({ ...query(1, '', 1), questions: [] });
      head.writeUInt16BE(1, 4);
      const data = Buffer.concat([head, wire, Buffer.from([0, 1, 0, 1])]);
      assert.deepEqual(encodeMessage(decodeMessage(data)), data);
    }),
  );
});

test('names that repeat are written once, whatever their capitals', () => {
  const one: ResourceRecord = {
    name: 'web.shop.svc.cluster.local',
    type: 'A',
    ttl: 5,
    address: Uint8Array.of(1, 2, 3, 4),
  };
  const m: Message = {
    ...query(1, 'WEB.shop.svc.cluster.local', TYPE.A),
    answers: [one, { ...one, name: 'b.SHOP.svc.cluster.local' }],
  };
  const data = encodeMessage(m);
  assert.equal(data.length, 12 + 28 + 4 + (2 + 14) + (2 + 2 + 14));
  assert.deepEqual(
    decodeMessage(data).answers.map((record) => record.name),
    ['WEB.shop.svc.cluster.local', 'b.shop.svc.cluster.local'],
  );
});

test('what does not fit is left out whole, TC says so, and OPT stays', () => {
  fc.assert(
    fc.property(message, fc.integer({ min: 150, max: 600 }), (m, limit) => {
      fc.pre(encodeMessage({ ...m, answers: [], authorities: [], additionals: [] }).length <= limit);
      const data = encodeMessage(m, limit);
      const decoded = decodeMessage(data);
      assert.ok(data.length <= limit);
      assert.deepEqual(decoded.edns, m.edns);
      assert.deepEqual(decoded.answers, m.answers.slice(0, decoded.answers.length));
      const lost =
        decoded.answers.length < m.answers.length || decoded.authorities.length < m.authorities.length;
      assert.equal(decoded.truncated, lost);
    }),
  );
});

test('an extended code travels in the OPT record', () => {
  const m = { ...query(1, 'x', TYPE.A, {}), rcode: RCODE.BADVERS };
  assert.equal(decodeMessage(encodeMessage(m)).rcode, RCODE.BADVERS);
});

for (const [what, hex] of [
  ['a pointer to itself', '000001000001000000000000c00c00010001'],
  ['a pointer ahead', '000001000001000000000000c01000010001'],
  ['two pointers that chase each other', '000001000001000000000000c00ec00c00010001'],
  ['a label type nobody defined', '00000100000100000000000040610000010001'],
  ['a question count that lies', '00000100ffff00000000000001610000010001'],
  ['a header alone that promises more', '000001000001000000000000'],
] as const)
  test(`${what} is refused`, () => assert.throws(() => decodeMessage(Buffer.from(hex, 'hex')), FormatError));

test('a name of 255 bytes is read, one of 256 refused', () => {
  const of = (last: number) => {
    const labels = [63, 63, 63, last].map((length) => 'a'.repeat(length));
    return Buffer.concat([
      Buffer.from('000001000001000000000000', 'hex'),
      ...labels.map((l) => Buffer.from([l.length, ...Buffer.from(l)])),
      Buffer.from([0, 0, 1, 0, 1]),
    ]);
  };
  assert.equal(decodeMessage(of(61)).questions[0]?.name.length, 253);
  assert.throws(() => decodeMessage(of(62)), FormatError);
});
