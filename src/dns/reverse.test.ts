import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Address, bits, type Family, formatAddress, toBytes } from '../lib/ip.ts';
import { addressOf, createReverseZones } from './reverse.ts';

function reverseName(address: Address): string {
  const bytes = Buffer.from(toBytes(address));
  if (address.family === 4) return `${[...bytes].reverse().join('.')}.in-addr.arpa`;
  return `${bytes.toString('hex').split('').reverse().join('.')}.ip6.arpa`;
}

test('a reverse name gives its address back', () => {
  const address = fc
    .constantFrom<Family>(4, 6)
    .chain((family) =>
      fc.bigInt({ min: 0n, max: (1n << BigInt(bits(family))) - 1n }).map((value) => ({ family, value })),
    );
  fc.assert(fc.property(address, (a) => assert.equal(addressOf(reverseName(a)), formatAddress(a))));
});

test('any text is an address or none', () => {
  fc.assert(
    fc.property(fc.string(), (text) =>
      assert.equal(addressOf(`${text}.in-addr.arpa`)?.includes('x') ?? false, false),
    ),
  );
  for (const name of [
    '1.2.3.in-addr.arpa',
    '1.2.3.256.in-addr.arpa',
    '01.2.3.4.in-addr.arpa',
    'a.ip6.arpa',
    'x.example',
  ])
    assert.equal(addressOf(name), undefined);
});

for (const [range, inside, outside] of [
  ['10.96.0.0/16', '1.0.96.10.in-addr.arpa', '1.0.97.10.in-addr.arpa'],
  ['10.96.0.0/12', '1.0.111.10.in-addr.arpa', '1.0.112.10.in-addr.arpa'],
  ['10.0.0.0/8', '10.in-addr.arpa', '11.in-addr.arpa'],
  [
    'fd00:10:96::/112',
    `${'0.'.repeat(16)}6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa`.replace(/^/, '1.0.0.0.'),
    'f.ip6.arpa',
  ],
] as const)
  test(`${range} answers for ${inside} and not for ${outside}`, () => {
    const zones = createReverseZones([range]);
    assert.ok(zones.zone(inside));
    assert.equal(zones.zone(outside), undefined);
  });
