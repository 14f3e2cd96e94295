import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import fc from 'fast-check';
import type { Btf } from './btf.ts';
import { createCodec, type Fields } from './codec.ts';
import { createConverter } from './convert.ts';
import { openObject } from './object.ts';
import { compileObject } from './test-object.ts';

const skip = existsSync('/usr/bin/clang') ? false : 'needs clang';

const SOURCE = `
struct one {
  __u32 same; __u64 narrower; __s32 sign; __u8 bytes[8]; __u16 list[3]; unsigned int low : 3; unsigned int bits : 9;
  struct { __u16 a; __u32 b; } inner; union { __u32 v4; __u8 v6[16]; }; __u32 gone; __u16 next; __u16 to;
};
struct two {
  __u8 added; __u32 other[2]; unsigned int bits : 6; unsigned int low : 5; union { __u8 v6[16]; __u32 v4; };
  struct { __u64 b; __u16 a; } inner; __u16 list[2]; __u8 bytes[5]; __u32 sign; __u16 narrower; __u32 same;
  __u16 next; __u16 to;
};
struct one a SEC(".data");
struct two b SEC(".data");
`;

let btf: Btf;

before(async () => {
  if (skip) return;
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-'));
  try {
    const object = openObject(await compileObject(folder, 'types', SOURCE));
    ({ btf } = object);
    object.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const small = (max: number) => fc.oneof(fc.nat(3), fc.nat(max));
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const value = fc.record(
  {
    same: small(2 ** 32 - 1),
    narrower: fc.oneof(fc.bigInt(0n, 65535n), fc.bigInt(0n, 2n ** 64n - 1n)),
    sign: fc.integer({ min: -3, max: 2 ** 31 - 1 }),
    bytes: fc.oneof(
      bytes(5).map((b) => Uint8Array.of(...b, 0, 0, 0)),
      bytes(8),
    ),
    list: fc.tuple(fc.nat(65535), fc.nat(65535), fc.constantFrom(0, 0, 1)),
    low: fc.nat(7),
    bits: small(511),
    inner: fc.record({ a: fc.nat(65535), b: fc.nat(2 ** 32 - 1) }, { noNullPrototype: true }),
    v6: bytes(16),
    gone: fc.nat(),
    next: fc.nat(65535),
    to: fc.nat(65535),
  },
  { noNullPrototype: true },
);

/** Whether the second struct has room for it, said in another way than the converter goes. */
const fits = (v: Fields): boolean =>
  Number(v['narrower']) < 65536 &&
  Number(v['sign']) >= 0 &&
  (v['bytes'] as Uint8Array).subarray(5).every((byte) => byte === 0) &&
  (v['list'] as number[])[2] === 0 &&
  Number(v['bits']) < 64;

test('what both types have comes over, and only where all of it fits', { skip }, () => {
  const [one, two] = [createCodec(btf, 'struct one'), createCodec(btf, 'struct two')];
  const type = (name: string) => ({ btf, type: btf.find(name)!.id });
  const convert = createConverter(type('struct one'), type('struct two'));
  const back = createConverter(type('struct two'), type('struct one'));
  let fitting = 0;
  fc.assert(
    fc.property(value, fc.nat(5), fc.nat(5), (fields, fromAt, toAt) => {
      const from = new Uint8Array(one.size + 8);
      one.encode(fields, from, fromAt);
      const to = new Uint8Array(two.size + 8);
      assert.equal(convert(from, fromAt, to, toAt), fits(fields));
      if (!fits(fields)) return;
      fitting++;
      const got = two.decode(to, toAt);
      assert.equal(got['added'], 0);
      assert.deepEqual(got['other'], [0, 0]);
      for (const name of ['same', 'sign', 'low', 'bits', 'v6', 'next', 'to'])
        assert.deepEqual(got[name], fields[name as keyof typeof fields], name);
      assert.deepEqual(got['inner'], { a: fields.inner.a, b: BigInt(fields.inner.b) });
      const again = new Uint8Array(one.size);
      assert.equal(back(to, toAt, again, 0), true);
      assert.deepEqual(one.decode(again), one.decode(one.encode({ ...fields, gone: 0 })));
    }),
    { numRuns: 1000 },
  );
  assert.ok(fitting > 5, `${fitting}`);
});
