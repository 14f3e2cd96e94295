import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { before, test } from 'node:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { HeddleError } from '../../lib/errors.ts';
import { addressOf } from '../ffi.ts';
import { type Btf, parseBtf } from './btf.ts';
import { createCodec } from './codec.ts';
import { openObject } from './object.ts';
import { compileObject } from './test-object.ts';

const skip = existsSync('/usr/bin/clang') ? false : 'needs clang';

const SOURCE = `
typedef __u32 identity;
enum verdict { ALLOW, DENY = 7 };
struct inner { __u16 port; __u8 mac[6]; };
struct entry {
  __u8 small; __s8 below; __u16 port; __s16 below16; identity id; __s32 below32; __u64 big; __s64 below64;
  enum verdict verdict; _Bool yes; __u8 address[16]; __u32 words[3]; struct inner inner; struct inner many[2];
  union { __u32 v4; __u8 v6[16]; };
  struct { __u32 anonymous; };
  unsigned int low : 3; unsigned int high : 7;
  const volatile __u8 last;
};
struct entry value SEC(".data");
`;

let btf: Btf;
let bytes: Uint8Array;

before(async () => {
  if (skip) return;
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-'));
  try {
    const object = openObject(await compileObject(folder, 'types', SOURCE));
    ({ btf, btfBytes: bytes } = object);
    object.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const bigints = { signed: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), unsigned: fc.bigInt(0n, 2n ** 64n - 1n) };
const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const plain = { noNullPrototype: true };
const inner = fc.record({ port: fc.integer({ min: 0, max: 65535 }), mac: bytesOf(6) }, plain);
const entry = fc.record(
  {
    small: fc.integer({ min: 0, max: 255 }),
    below: fc.integer({ min: -128, max: 127 }),
    port: fc.integer({ min: 0, max: 65535 }),
    below16: fc.integer({ min: -32768, max: 32767 }),
    id: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    below32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    big: bigints.unsigned,
    below64: bigints.signed,
    verdict: fc.constantFrom(0, 7),
    yes: fc.boolean(),
    address: bytesOf(16),
    words: fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 3, maxLength: 3 }),
    inner,
    many: fc.array(inner, { minLength: 2, maxLength: 2 }),
    v6: bytesOf(16),
    anonymous: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    low: fc.integer({ min: 0, max: 7 }),
    high: fc.integer({ min: 0, max: 127 }),
    last: fc.integer({ min: 0, max: 255 }),
  },
  plain,
);

test('what is written is read again, whatever the values', { skip }, () => {
  const codec = createCodec(btf, 'struct entry');
  fc.assert(
    fc.property(entry, (value) => {
      const { v4, ...read } = codec.decode(codec.encode(value));
      assert.deepEqual(read, value);
      assert.equal(v4, Buffer.from(value.v6).readUInt32LE(0));
    }),
  );
});

test('fields left out and padding are zero, also where older bytes were', { skip }, () => {
  const codec = createCodec(btf, 'struct entry');
  const into = new Uint8Array(codec.size + 6).fill(0xff);
  codec.encode({ port: 0x0102 }, into, 3);
  const expected = new Uint8Array(codec.size + 6).fill(0xff);
  expected.fill(0, 3, codec.size + 3);
  expected.set([2, 1], 3 + 2);
  assert.deepEqual(into, expected);
});

test('values that do not fit are refused by field, not cut', { skip }, () => {
  const codec = createCodec(btf, 'struct entry');
  const wrong = [
    { small: 256 },
    { small: -1 },
    { below: 128 },
    { port: 1.5 },
    { port: Number.NaN },
    { big: -1n },
    { big: 2n ** 64n },
    { below64: 2n ** 63n },
    { big: 0.5 },
    { address: new Uint8Array(17) },
    { address: 5 },
    { words: [1, 2, 3, 4] },
    { inner: 5 },
    { inner: { port: 65536 } },
    { low: 8 },
    { prot: 1 },
  ];
  for (const value of wrong)
    assert.throws(
      () => codec.encode(value),
      { name: 'HeddleError', code: 'BtfValue' },
      JSON.stringify(Object.keys(value)),
    );
  assert.throws(() => codec.decode(new Uint8Array(codec.size - 1)), { code: 'BtfValue' });
  assert.throws(() => codec.encode({}, new Uint8Array(codec.size), 1), { code: 'BtfValue' });
});

test('a type that is not there says so; layouts tell a field that moved', { skip }, () => {
  assert.throws(() => createCodec(btf, 'struct nothing'), { code: 'BtfType' });
  const id = btf.find('struct inner')!.id;
  assert.equal(btf.layout(id), '{port@0 u16; mac@16 u8[6]}/8');
  assert.equal(btf.find('identity')?.name, 'identity');
});

test('damaged type information is refused or read, and never more', { skip }, () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 20 }),
      fc.nat(bytes.length),
      (changes, length) => {
        const damaged = bytes.slice(0, bytes.length - (length % 3 === 0 ? length : 0));
        for (const [at, value] of changes) if (at < damaged.length) damaged[at] = value;
        try {
          const parsed = parseBtf(damaged);
          if (!parsed.find('struct entry')) return;
          parsed.layout(parsed.find('struct entry')!.id);
          const codec = createCodec(parsed, 'struct entry');
          if (codec.size < 1 << 20) codec.decode(codec.encode({}));
        } catch (error) {
          assert.ok(error instanceof HeddleError && error.code.startsWith('Btf'), String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('the address of an array is where its bytes are', () => {
  const buffer = new Uint8Array(64);
  assert.equal(addressOf(buffer.subarray(16)) - addressOf(buffer), 16n);
});
