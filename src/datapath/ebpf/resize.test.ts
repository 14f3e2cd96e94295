import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { compileObject, needsBpf } from '../../kernel/bpf/test-object.ts';
import { testBpffs, testFolder } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import { openPrograms, type Programs } from './loader.ts';

const skip = needsBpf;

const map = (name: string, type: string, entries: number, flags = 0) => `
struct { __uint(type, BPF_MAP_TYPE_${type}); __uint(max_entries, ${entries}); __uint(map_flags, ${flags});
  __type(key, __u32); __type(value, struct value); } ${name} SEC(".maps");`;
const SOURCE = `
struct value { __u32 id; __u64 last; };
${map('learned', 'LRU_HASH', 16384)}
${map('written', 'HASH', 4096, 1)}
SEC("tc") int touch(struct __sk_buff *skb) {
  __u32 key = 0;
  return bpf_map_lookup_elem(&learned, &key) || bpf_map_lookup_elem(&written, &key);
}`;

async function sized(t: TestContext) {
  const pinDir = testBpffs(t);
  const objectDir = testFolder(t);
  await compileObject(objectDir, 'touch', SOURCE);
  return (maxEntries: Record<string, number>): Programs => {
    const programs = openPrograms({ objectDir, pinDir, log: silentLog, maxEntries });
    t.after(() => programs.close());
    return programs;
  };
}

/** Entry n was used at `last(n)`. */
function fill(programs: Programs, name: string, count: number, last = (n: number) => n): void {
  const { key, value } = programs.mapCodecs(name);
  for (let n = 0; n < count; n++)
    programs.map(name).update(key.encode({ value: n }), value.encode({ id: n, last: BigInt(last(n)) }));
}

const ids = (programs: Programs, name: string): Set<number> =>
  new Set(
    [...programs.map(name).entries()].map(([key]) =>
      Number(programs.mapCodecs(name).key.decode(key)['value']),
    ),
  );

test('a smaller table of what was learned keeps all that fits, and of more what was used last', {
  skip,
}, async (t) => {
  const open = await sized(t);
  const large = open({});
  fill(large, 'learned', 1500);
  large.settle();
  large.close();

  const fitting = open({ learned: 2048 });
  assert.equal(fitting.map('learned').maxEntries, 2048);
  assert.equal(ids(fitting, 'learned').size, 1500);
  fitting.settle();
  fitting.close();

  const again = open({});
  again.settle();
  // Not in the order of their numbers, nor of the kernel's table.
  fill(again, 'learned', 8000, (n) => (n * 7919) % 8000);
  again.close();
  const small = open({ learned: 2048 });
  const kept = [...ids(small, 'learned')].map((n) => (n * 7919) % 8000);
  assert.ok(kept.length >= 1024, `${kept.length}`);
  assert.ok(Math.min(...kept) >= 8000 - 2048, `one of ${Math.min(...kept)} is older than those that went`);
  const migration = small.migrations.find(({ map }) => map === 'learned');
  assert.equal((migration?.copied ?? 0) + (migration?.unfit ?? 0), 8000);
});

test('what a smaller table had no room for pushes out nothing that programs learn afterwards', {
  skip,
}, async (t) => {
  const open = await sized(t);
  for (const isLateStart of [false, true]) {
    const large = open({});
    for (const [key] of large.map('learned').entries()) large.map('learned').delete(key);
    fill(large, 'learned', 8000);
    large.settle();
    large.close();
    let small = open({ learned: 2048 });
    if (isLateStart) {
      // The agent died in between.
      small.close();
      small = open({ learned: 2048 });
    } else small.catchUp();
    // By the new programs, once links have changed.
    const { key, value } = small.mapCodecs('learned');
    const fresh = Array.from({ length: 200 }, (_, i) => 10_000 + i);
    for (const n of fresh)
      small.map('learned').update(key.encode({ value: n }), value.encode({ id: n, last: BigInt(n) }));
    small.catchUp();
    small.settle();
    const kept = ids(small, 'learned');
    assert.deepEqual(
      fresh.filter((n) => !kept.has(n)),
      [],
      isLateStart ? 'after a late start' : '',
    );
    const old = [...kept].filter((n) => n < 8000);
    assert.ok(
      old.length >= 1024 && Math.min(...old) >= 8000 - 2048,
      `${old.length} from ${Math.min(...old)} on`,
    );
    small.close();
  }
});

test('a table of what the agent writes that holds more than its new size keeps the size that it has', {
  skip,
}, async (t) => {
  const open = await sized(t);
  const large = open({});
  fill(large, 'written', 1500);
  large.settle();
  large.close();
  for (const opening of [1, 2]) {
    const kept = open({ written: 1024 });
    assert.equal(kept.map('written').maxEntries, 4096, `opening ${opening}`);
    assert.equal(ids(kept, 'written').size, 1500);
    kept.settle();
    if (opening === 2) for (const [key] of kept.map('written').entries()) kept.map('written').delete(key);
    kept.close();
  }
  assert.equal(open({ written: 1024 }).map('written').maxEntries, 1024);
});
