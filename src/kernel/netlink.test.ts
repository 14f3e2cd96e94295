import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseLink } from './link-codec.ts';
import {
  attribute,
  encodeMessage,
  nested,
  parseAcknowledgement,
  parseAttributes,
  parseMessages,
  text,
  textOf,
} from './netlink.ts';
import { parsePacket } from './nflog-codec.ts';
import { parseFdb, parseLinkAddress, parseNeighbour, parseRoute } from './route-codec.ts';

const bytes = fc.uint8Array({ maxLength: 60 });

test('attributes survive encoding and parsing', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), bytes), { selector: (e) => e[0] }),
      (list) => {
        const parsed = parseAttributes(Buffer.concat(list.map(([type, data]) => attribute(type, data))));
        assert.deepEqual(
          [...parsed].map(([type, data]) => [type, Uint8Array.from(data)]),
          list,
        );
      },
    ),
  );
});

test('messages in one datagram are told apart, and a cut one is left out', () => {
  const request = {
    type: 16,
    flags: 0x400,
    what: '',
    parts: [Buffer.alloc(16), nested(18, [text(1, 'veth')])],
  };
  const data = Buffer.concat([encodeMessage(request, 7, 4), encodeMessage(request, 8, 4)]);
  const [first, second] = parseMessages(data);
  assert.equal(first?.sequence, 7);
  assert.equal(second?.flags, 0x405);
  assert.equal(textOf(parseAttributes(parseAttributes(second.body, 16).get(18) ?? data).get(1)), 'veth');
  assert.equal(parseMessages(data.subarray(0, data.length - 1)).length, 1);
});

test("the kernel's words are found behind the request, repeated or not", () => {
  const words = text(1, 'Nexthop has invalid gateway');
  const head = Buffer.alloc(20);
  head.writeInt32LE(-101, 0);
  head.writeUInt32LE(16 + 8, 4);
  const whole = { type: 2, flags: 0x200, sequence: 1, body: Buffer.concat([head, Buffer.alloc(8), words]) };
  const capped = { type: 2, flags: 0x300, sequence: 1, body: Buffer.concat([head, words]) };
  for (const message of [whole, capped])
    assert.deepEqual(parseAcknowledgement(message), { errno: 101, words: 'Nexthop has invalid gateway' });
});

test('no bytes make a parser of the envelope fail', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(300), (data, from) => {
      const buffer = Buffer.from(data);
      for (const message of parseMessages(buffer)) parseAcknowledgement(message);
      parseAttributes(buffer, from);
      parsePacket({ type: 0x400, flags: 0, sequence: 0, body: buffer });
    }),
  );
});

test('attributes the kernel leaves out are no error to the parsers of bodies', () => {
  const body = Buffer.alloc(16, 0);
  body[0] = 2;
  const message = { type: 0, flags: 0, sequence: 0, body };
  assert.equal(parseLink(message).name, '');
  assert.equal(parseRoute(message)?.dst, '0.0.0.0/0');
  for (const parse of [parseLinkAddress, parseNeighbour, parseFdb]) assert.equal(parse(message), undefined);
});
