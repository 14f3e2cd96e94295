import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { silentLog } from '../lib/log.ts';
import { createChain, failure, type Next } from './chain.ts';
import { answerErrors } from './errors.ts';
import { decodeMessage, encodeMessage, type Message, query, RCODE } from './message.ts';
import { type ResourceRecord, TYPE } from './record.ts';
import { createResponder } from './respond.ts';
import { rotate } from './rotate.ts';

const addresses = (count: number, name = 'web.shop'): ResourceRecord[] =>
  Array.from({ length: count }, (_, i) => ({
    name,
    type: 'A',
    ttl: 5,
    address: Uint8Array.of(10, 244, i >> 8, i & 255),
  }));

const answering =
  (answers: ResourceRecord[]): Next =>
  () => ({ ...failure(RCODE.NOERROR), authoritative: true, answers });

function ask(
  message: Message | Uint8Array,
  handler: Next = answering(addresses(1)),
  transport: 'udp' | 'tcp' = 'udp',
) {
  const data = message instanceof Uint8Array ? message : encodeMessage(message);
  const response = createResponder(handler)(data, transport, '10.244.0.1');
  if (response instanceof Promise) return assert.fail();
  return response;
}

const reply = (...args: Parameters<typeof ask>) => decodeMessage(ask(...args) ?? assert.fail());

test('the question goes back with its capitals, id and RD; the handler sees lower case', () => {
  let seen = '';
  const response = reply({ ...query(77, 'WeB.sHoP', TYPE.A), recursionDesired: true }, (asked) => {
    seen = asked.name;
    return answering(addresses(1))(asked);
  });
  assert.equal(seen, 'web.shop');
  assert.equal(response.id, 77);
  assert.deepEqual(
    [response.response, response.recursionDesired, response.authoritative],
    [true, true, true],
  );
  assert.equal(response.questions[0]?.name, 'WeB.sHoP');
  assert.equal(response.answers[0]?.name, 'WeB.sHoP');
});

test('UDP without EDNS ends at 512 bytes, with it where the asker says, at most at 1232; TCP says all', () => {
  const many = answering(addresses(300));
  const size = (message: Message, transport: 'udp' | 'tcp' = 'udp') => {
    const data = ask(message, many, transport) ?? assert.fail();
    const { truncated, answers } = decodeMessage(data);
    assert.equal(truncated, answers.length < 300);
    return data.length;
  };
  const within = (length: number, limit: number) =>
    assert.ok(length <= limit && length > limit - 16, `${length}`);
  within(size(query(1, 'web.shop', TYPE.A)), 512);
  within(size(query(1, 'web.shop', TYPE.A, { udpSize: 100 })), 512);
  within(size(query(1, 'web.shop', TYPE.A, { udpSize: 900 })), 900);
  within(size(query(1, 'web.shop', TYPE.A, { udpSize: 4096 })), 1232);
  assert.ok(size(query(1, 'web.shop', TYPE.A), 'tcp') > 4096);
});

test('EDNS is answered with EDNS, and without without', () => {
  assert.deepEqual(reply(query(1, 'x', TYPE.A, { dnssecOk: true })).edns, {
    udpSize: 1232,
    version: 0,
    dnssecOk: true,
    options: [],
  });
  assert.equal(reply(query(1, 'x', TYPE.A)).edns, undefined);
});

for (const [what, message, rcode] of [
  [
    'two questions',
    { ...query(1, 'x', 1), questions: [query(1, 'x', 1), query(1, 'y', 1)].flatMap((m) => m.questions) },
    RCODE.FORMERR,
  ],
  ['no question', { ...query(1, 'x', 1), questions: [] }, RCODE.FORMERR],
  ['an EDNS version to come', query(1, 'x', 1, { version: 1 }), RCODE.BADVERS],
  ['an update', { ...query(1, 'x', 1), opcode: 5 }, RCODE.NOTIMP],
] as const)
  test(`${what} is answered with code ${rcode}`, () => {
    const response = reply(message);
    assert.deepEqual([response.rcode, response.id, response.answers.length], [rcode, 1, 0]);
  });

test('bytes that make no message get FORMERR, responses and scraps get nothing', () => {
  const broken = encodeMessage(query(9, 'web.shop', 1)).subarray(0, 15);
  assert.deepEqual([reply(broken).rcode, reply(broken).id], [RCODE.FORMERR, 9]);
  assert.equal(ask(encodeMessage({ ...query(1, 'x', 1), response: true })), undefined);
  assert.equal(ask(Buffer.alloc(11)), undefined);
});

test('a name that no message can hold costs its asker a SERVFAIL', () => {
  const answers: ResourceRecord[] = [{ name: 'x', type: 'CNAME', ttl: 5, target: 'a..b' }];
  assert.equal(reply(query(1, 'x', 1), answering(answers)).rcode, RCODE.SERVFAIL);
});

test('a handler that fails, now or later, costs its asker a SERVFAIL', async () => {
  const now = createChain([answerErrors(silentLog), () => assert.fail('broken')]);
  assert.equal(reply(query(1, 'x', 1), now).rcode, RCODE.SERVFAIL);
  const later = createChain([answerErrors(silentLog), () => Promise.reject(new Error('broken'))]);
  const data = await createResponder(later)(encodeMessage(query(1, 'x', 1)), 'udp', '');
  assert.equal(decodeMessage(data ?? assert.fail()).rcode, RCODE.SERVFAIL);
});

test('whatever comes, what leaves is a response with the same id, or nothing', () => {
  const responder = createResponder(answering(addresses(3)));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (noise, head) => {
      const start = encodeMessage(query(0x1234, 'a.b', 1)).subarray(0, 12);
      const data = head ? Buffer.concat([start, noise]) : noise;
      const response = responder(data, 'udp', '');
      if (response instanceof Promise) assert.fail();
      if (!response) return;
      const decoded = decodeMessage(response);
      assert.ok(decoded.response);
      assert.equal(decoded.id, Buffer.from(data).readUInt16BE(0));
    }),
    { numRuns: 2000 },
  );
});

test('several addresses take turns in front', () => {
  const chain = createChain([rotate(), answering(addresses(3))]);
  const firsts = Array.from({ length: 6 }, () => {
    const [first] = reply(query(1, 'web.shop', 1), chain).answers;
    return first?.type === 'A' ? first.address[3] : undefined;
  });
  assert.deepEqual(firsts, [0, 1, 2, 0, 1, 2]);
});
