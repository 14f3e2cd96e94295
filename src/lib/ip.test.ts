import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Address,
  type Family,
  bits,
  canonicalAddress,
  contains,
  firstOf,
  formatAddress,
  formatCidr,
  fromBytes,
  lastOf,
  nth,
  overlaps,
  parseAddress,
  parseCidr,
  toBytes,
  tryCanonical,
  tryParseAddress,
  tryParseCidr,
} from './ip.ts';

const address = fc
  .constantFrom<Family>(4, 6)
  .chain((family) =>
    fc
      .bigInt({ min: 0n, max: (1n << BigInt(bits(family))) - 1n })
      .map((value): Address => ({ family, value })),
  );

test('an address survives formatting and parsing, and bytes', () => {
  fc.assert(
    fc.property(address, (a) => {
      assert.deepEqual(parseAddress(formatAddress(a)), a);
      assert.deepEqual(fromBytes(toBytes(a)), a);
    }),
  );
});

test('a range contains its first and last address and no neighbour', () => {
  fc.assert(
    fc.property(address, fc.nat(128), (a, n) => {
      const cidr = parseCidr(`${formatAddress(a)}/${Math.min(n, bits(a.family))}`);
      const [first, last] = [firstOf(cidr), lastOf(cidr)];
      assert.ok(contains(cidr, a) && contains(cidr, first) && contains(cidr, last));
      if (cidr.length > 0)
        assert.ok(
          !contains(cidr, {
            family: a.family,
            value: last.value ^ (1n << BigInt(bits(a.family) - cidr.length)),
          }),
        );
      assert.deepEqual(nth(cidr, 0n), first);
      assert.equal(nth(cidr, last.value - first.value + 1n), undefined);
      assert.ok(overlaps(cidr, cidr));
    }),
  );
});

for (const [text, canonical] of [
  ['::', '::'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
  ['1:2:3:4:5:6:0:8', '1:2:3:4:5:6:0:8'],
  ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ['10.0.0.1', '10.0.0.1'],
] as const)
  test(`${text} is written ${canonical}`, () => assert.equal(canonicalAddress(text), canonical));

for (const text of [
  '',
  '1.2.3',
  '1.2.3.256',
  '01.2.3.4',
  '1.2.3.4.5',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  'g::',
  '12345::',
  '1:2:3:4:5:6:7::8',
])
  test(`"${text}" is no address`, () => assert.equal(tryParseAddress(text), undefined));

for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/08', 'fd00::/129', '/8', 'x/8'])
  test(`"${text}" is no range`, () => assert.equal(tryParseCidr(text), undefined));

test('a range loses its host bits', () => assert.equal(formatCidr(parseCidr('10.1.2.3/8')), '10.0.0.0/8'));

test('what is an IPv6 address, and which, Node.js says too', () => {
  const parts = fc.constantFrom(
    '0',
    '1',
    'ff',
    'fFff',
    '0001',
    '12345',
    'g',
    '',
    ':',
    '::',
    '1.2.3.4',
    '1.2.3',
  );
  const texts = fc.oneof(
    fc.ipV6(),
    fc.array(parts, { maxLength: 10 }).map((list) => list.join(':')),
    fc.array(fc.constantFrom(':', '::', '1', 'a', '.'), { maxLength: 20 }).map((list) => list.join('')),
  );
  fc.assert(
    fc.property(
      texts.filter((text) => text.includes(':')),
      (text) => {
        const address = tryParseAddress(text);
        assert.equal(address !== undefined, isIPv6(text));
        if (!address) return;
        const theirs = new URL(`http://[${text}]`).hostname;
        assert.equal(`[${formatAddress(address)}]`, theirs);
      },
    ),
    { numRuns: 1000 },
  );
});

test('a text is canonical by the short way and by the long one alike', () => {
  const texts = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc
      .array(fc.constantFrom('0', '1', '01', '25', '255', '256', ''), { maxLength: 5 })
      .map((parts) => parts.join('.')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const address = tryParseAddress(text);
      const long = address && { text: formatAddress(address), family: address.family };
      assert.deepEqual(tryCanonical(text), long);
      if (address) assert.equal(canonicalAddress(text), long?.text);
      else assert.throws(() => canonicalAddress(text));
    }),
  );
});
