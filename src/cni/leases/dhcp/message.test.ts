import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatCidr, tryParseCidr } from '../../../lib/ip.ts';
import { EVERYBODY, fromServer, toServer } from './frame.ts';
import { classlessRoutes, givenBy, searchList } from './lease.ts';
import { decodeMessage, encodeMessage, OPTION, TYPE } from './message.ts';

const MAC = '02:00:00:00:00:01';

/** As a server says it: what a client says, with the other operation, an address and more options. */
function answer(options: readonly (readonly [number, Uint8Array])[], address = [192, 0, 2, 7]): Buffer {
  const data = encodeMessage({ type: TYPE.ACK, xid: 7, secs: 0, mac: MAC, broadcast: true, options });
  data[0] = 2;
  data.set(address, 16);
  return data;
}

const u32 = (value: number): Buffer => {
  const data = Buffer.alloc(4);
  data.writeUInt32BE(value);
  return data;
};
const usual = [
  [OPTION.SERVER, Buffer.from([192, 0, 2, 1])],
  [OPTION.LEASE, u32(3600)],
  [OPTION.MASK, Buffer.from([255, 255, 255, 0])],
] as const;

test('an answer is read: address, server, mask, times, and classless routes before the router', () => {
  const router = [OPTION.ROUTERS, Buffer.from([192, 0, 2, 254])] as const;
  const told = decodeMessage(answer([...usual, router]));
  assert.ok(told);
  const given = givenBy(told);
  assert.deepEqual([given?.lease, given?.renew, given?.rebind], [3600, 1800, 3150]);
  assert.deepEqual(given?.network.addresses, [{ address: '192.0.2.7/24', gateway: '192.0.2.254' }]);
  assert.deepEqual(given?.network.routes, [{ dst: '0.0.0.0/0', gw: '192.0.2.254' }]);
  // RFC 3442's own example: 10.17.0.0/16 needs two bytes of destination.
  const routes = [OPTION.ROUTES, Buffer.from([16, 10, 17, 192, 0, 2, 9, 0, 192, 0, 2, 8])] as const;
  const classless = decodeMessage(answer([...usual, router, routes]));
  assert.deepEqual(classless && givenBy(classless, 50)?.network.routes, [
    { dst: '10.17.0.0/16', gw: '192.0.2.9', priority: 50 },
    { dst: '0.0.0.0/0', gw: '192.0.2.8', priority: 50 },
  ]);
});

test('what makes no lease is none: no server, no time, no address, a mask with holes', () => {
  const without = (code: number) => decodeMessage(answer(usual.filter(([each]) => each !== code)));
  for (const code of [OPTION.SERVER, OPTION.LEASE]) {
    const told = without(code);
    assert.ok(told && givenBy(told) === undefined, String(code));
  }
  const classful = without(OPTION.MASK);
  assert.equal(classful && givenBy(classful)?.network.addresses[0]?.address, '192.0.2.7/24');
  const holes = decodeMessage(answer([...usual.slice(0, 2), [OPTION.MASK, Buffer.from([255, 0, 255, 0])]]));
  assert.ok(holes && givenBy(holes) === undefined);
  const none = decodeMessage(answer(usual, [0, 0, 0, 0]));
  assert.ok(none && givenBy(none) === undefined);
});

test('times that make no sense are replaced by those of RFC 2131', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 2 ** 32 - 1 }), fc.nat(), fc.nat(), (lease, t1, t2) => {
      const times = [
        [OPTION.LEASE, u32(lease)],
        [OPTION.T1, u32(t1)],
        [OPTION.T2, u32(t2)],
      ] as const;
      const told = decodeMessage(answer([usual[0], usual[2], ...times]));
      const given = told && givenBy(told);
      assert.ok(given);
      assert.ok(0 < given.renew && given.renew <= given.rebind && given.rebind <= given.lease);
    }),
  );
});

test('what a client says comes back through frames', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(fc.dictionary(fc.integer({ min: 64, max: 250 }).map(String), bytes), (given) => {
      const options = Object.entries(given).map(([code, data]) => [Number(code), data] as const);
      const said = answer(options);
      const frame = toServer({ mac: MAC, address: '0.0.0.0' }, EVERYBODY, said);
      // The way back has the ports the other way round.
      frame.writeUInt16BE(67, 34);
      frame.writeUInt16BE(68, 36);
      const read = fromServer(frame);
      assert.ok(read);
      assert.ok(read.message.equals(said));
      const told = decodeMessage(read.message);
      assert.equal(told?.address, '192.0.2.7');
      for (const [code, data] of options) assert.ok(told?.options.get(code)?.equals(data), String(code));
    }),
  );
});

test('noise is no answer and breaks nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 700 }), fc.nat(600), fc.nat(255), (noise, at, byte) => {
      fromServer(Buffer.from(noise));
      decodeMessage(Buffer.from(noise));
      const bent = answer([
        ...usual,
        [OPTION.SEARCH, noise.subarray(0, 200)],
        [OPTION.ROUTES, noise.subarray(0, 200)],
      ]);
      bent[at % bent.length] = byte;
      const told = decodeMessage(bent);
      const given = told && givenBy(told);
      for (const { dst } of given?.network.routes ?? []) assert.ok(tryParseCidr(dst));
      for (const name of given?.network.dns.search ?? []) assert.match(name, /^[\w.-]+$/);
    }),
  );
});

test('classless routes have no bits beyond their length; search lists end where pointers go forward', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => {
      for (const { dst } of classlessRoutes(Buffer.from(noise))) {
        const parsed = tryParseCidr(dst);
        assert.ok(parsed && formatCidr(parsed) === dst);
      }
      searchList(Buffer.from(noise));
    }),
  );
  // RFC 3397 section 2's form: a name, and one that ends with a pointer to a part of it.
  const labels = Buffer.from('\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04', 'latin1');
  assert.deepEqual(searchList(labels), ['eng.apple.com', 'marketing.apple.com']);
  assert.deepEqual(searchList(Buffer.from([0xc0, 0x00])), []);
});
