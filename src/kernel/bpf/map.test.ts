import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { needsRoot } from '../test-netns.ts';
import { type BpfMap, MAP_TYPE, NOEXIST, openMap, possibleCpus } from './map.ts';
import { mapMemory } from './memory.ts';
import { type MapCreate, mapCreate } from './syscall.ts';

const skip = needsRoot;
const NO_PREALLOC = 1;
const MMAPABLE = 1024;

function testMap(t: TestContext, options: Partial<MapCreate> & { type: number }): BpfMap {
  const map = openMap(mapCreate({ keySize: 4, valueSize: 8, maxEntries: 5000, name: 'test', ...options }));
  t.after(() => map.close());
  return map;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

const u64 = (value: bigint) => new Uint8Array(BigUint64Array.of(value).buffer);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const contents = (map: BpfMap) =>
  new Map(Array.from(map.entries(), ([key, value]) => [text(key), text(value)] as const));

/** Operations on a map, and a Map of JavaScript beside it. */
const steps = (size: number) =>
  fc.array(
    fc.oneof(
      fc.record({
        do: fc.constant('update' as const),
        key: fc.nat(60),
        value: fc.bigInt(0n, 2n ** 64n - 1n),
      }),
      fc.record({ do: fc.constant('add' as const), key: fc.nat(60), value: fc.bigInt(0n, 9n) }),
      fc.record({ do: fc.constant('delete' as const), key: fc.nat(60) }),
      fc.record({
        do: fc.constant('updateBatch' as const),
        entries: fc.array(fc.tuple(fc.nat(60), fc.bigInt(0n, 99n)), { maxLength: size }),
      }),
      fc.record({ do: fc.constant('deleteBatch' as const), keys: fc.array(fc.nat(60), { maxLength: size }) }),
    ),
    { maxLength: 12 },
  );

for (const [name, type, flags] of [
  ['hash', MAP_TYPE.HASH, 0],
  ['LRU', MAP_TYPE.LRU_HASH, 0],
  ['LPM trie', MAP_TYPE.LPM_TRIE, NO_PREALLOC],
] as const)
  test(`a ${name} map holds what a Map would, by single calls and by batches`, { skip }, (t) => {
    const lpm = type === MAP_TYPE.LPM_TRIE;
    const keyOf = (n: number) => (lpm ? Uint8Array.of(32, 0, 0, 0, 10, 0, 0, n) : u32(n));
    const keySize = lpm ? 8 : 4;
    fc.assert(
      fc.property(steps(20), (plan) => {
        const map = openMap(mapCreate({ type, keySize, valueSize: 8, maxEntries: 1000, flags }));
        const model = new Map<string, string>();
        try {
          for (const step of plan) perform(map, model, step, keyOf);
          assert.deepEqual(contents(map), model);
          for (let n = 0; n <= 60; n++) {
            const found = map.lookup(keyOf(n));
            assert.equal(found && text(found), model.get(text(keyOf(n))));
          }
        } finally {
          map.close();
        }
      }),
      { numRuns: 60 },
    );
    t.diagnostic('60 plans');
  });

type Step = ReturnType<typeof steps> extends fc.Arbitrary<(infer S)[]> ? S : never;

function perform(
  map: BpfMap,
  model: Map<string, string>,
  step: Step,
  keyOf: (n: number) => Uint8Array,
): void {
  const key = 'key' in step ? keyOf(step.key) : new Uint8Array();
  const known = model.has(text(key));
  switch (step.do) {
    case 'update':
      assert.equal(map.update(key, u64(step.value)), true);
      model.set(text(key), text(u64(step.value)));
      break;
    case 'add':
      assert.equal(map.update(key, u64(step.value), NOEXIST), !known);
      if (!known) model.set(text(key), text(u64(step.value)));
      break;
    case 'delete':
      assert.equal(map.delete(key), known);
      model.delete(text(key));
      break;
    case 'updateBatch': {
      const keys = Buffer.concat(step.entries.map(([n]) => keyOf(n)));
      map.updateBatch(keys, Buffer.concat(step.entries.map(([, value]) => u64(value))), step.entries.length);
      for (const [n, value] of step.entries) model.set(text(keyOf(n)), text(u64(value)));
      break;
    }
    case 'deleteBatch': {
      let there = 0;
      for (const n of step.keys) if (model.delete(text(keyOf(n)))) there++;
      assert.equal(map.deleteBatch(Buffer.concat(step.keys.map(keyOf)), step.keys.length), there);
      break;
    }
  }
}

test('every entry of a map of many batches is listed once', { skip }, (t) => {
  const map = testMap(t, { type: MAP_TYPE.HASH });
  const count = 4321;
  const keys = new Uint8Array(Uint32Array.from({ length: count }, (_, i) => i).buffer);
  const values = new Uint8Array(BigUint64Array.from({ length: count }, (_, i) => BigInt(i) * 3n).buffer);
  map.updateBatch(keys, values, count);
  const listed = Array.from(map.entries(), ([key, value]) => [
    Buffer.from(key).readUInt32LE(),
    Buffer.from(value).readBigUInt64LE(),
  ]).sort((a, b) => Number(a[0]) - Number(b[0]));
  assert.deepEqual(
    listed,
    Array.from({ length: count }, (_, i) => [i, BigInt(i) * 3n]),
  );
});

test('lengths are refused before the kernel sees them', { skip }, (t) => {
  const map = testMap(t, { type: MAP_TYPE.HASH });
  const wrong: (() => unknown)[] = [
    () => map.lookup(new Uint8Array(5)),
    () => map.delete(new Uint8Array(3)),
    () => map.update(u32(1), new Uint8Array(7)),
    () => map.updateBatch(new Uint8Array(8), new Uint8Array(16), 3),
    () => map.updateBatch(new Uint8Array(8), new Uint8Array(8), 2),
    () => map.deleteBatch(new Uint8Array(8), 1),
  ];
  for (const act of wrong) assert.throws(act, { code: 'BpfMapSize' });
});

test('a full map says so, by one and by many, with its name and size', { skip }, (t) => {
  const map = openMap(mapCreate({ type: MAP_TYPE.HASH, keySize: 4, valueSize: 8, maxEntries: 2 }), 'small');
  t.after(() => map.close());
  const full = { code: 'BpfMapFull', message: 'the map small is full (2 entries)' };
  const keys = Buffer.concat([1, 2, 3].map(u32));
  assert.throws(() => map.updateBatch(keys, new Uint8Array(24), 3), full);
  assert.equal(contents(map).size, 2);
  assert.throws(() => map.update(u32(4), u64(1n)), full);
  const trie = openMap(
    mapCreate({ type: MAP_TYPE.LPM_TRIE, keySize: 8, valueSize: 8, maxEntries: 1, flags: NO_PREALLOC }),
  );
  t.after(() => trie.close());
  trie.update(Uint8Array.of(8, 0, 0, 0, 10, 0, 0, 0), u64(1n));
  assert.throws(() => trie.update(Uint8Array.of(8, 0, 0, 0, 11, 0, 0, 0), u64(1n)), { code: 'BpfMapFull' });
});

test('a per-CPU value is all CPUs’ slots, each rounded up to eight bytes', { skip }, (t) => {
  const map = testMap(t, { type: MAP_TYPE.PERCPU_HASH, valueSize: 4 });
  assert.equal(map.valueSize, 8 * possibleCpus());
  const value = Buffer.alloc(map.valueSize);
  for (let cpu = 0; cpu < possibleCpus(); cpu++) value.writeUInt32LE(cpu + 7, cpu * 8);
  map.update(u32(1), value);
  assert.deepEqual(Buffer.from(map.lookup(u32(1))!), value);
  map.updateBatch(u32(2), value, 1);
  assert.deepEqual([...map.entries()].length, 2);
});

test('an array’s memory is read and written in place', { skip }, (t) => {
  const map = testMap(t, { type: MAP_TYPE.ARRAY, maxEntries: 4, flags: MMAPABLE });
  const memory = mapMemory({ fd: map.fd, length: 32, writable: true });
  memory.bytes()[8] = 9;
  assert.deepEqual(map.lookup(u32(1)), u64(9n));
  map.update(u32(0), u64(5n));
  assert.equal(memory.bytes()[0], 5);
  memory.close();
  assert.throws(() => memory.bytes(), { code: 'BpfClosed' });
});

test('a closed map is told from a wrong length', { skip }, () => {
  const map = openMap(mapCreate({ type: MAP_TYPE.HASH, keySize: 4, valueSize: 8, maxEntries: 2 }));
  map.close();
  map.close();
  assert.throws(() => map.lookup(u32(1)), { code: 'BpfClosed' });
  assert.throws(() => [...map.entries()], { code: 'BpfClosed' });
});
