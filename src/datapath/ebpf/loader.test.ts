import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { attachTc } from '../../kernel/bpf/links.ts';
import { compileObject, needsBpf } from '../../kernel/bpf/test-object.ts';
import { testRun } from '../../kernel/bpf/test-run.ts';
import { testBpffs, testFolder, testNetns } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import { openPrograms, type OpenOptions, type Programs } from './loader.ts';

const skip = needsBpf;
const packet = new Uint8Array(64);

const SHARED = `
struct key { __u32 id; __u16 port; __u16 pad; };
struct value { __u64 hits; __u8 mac[6]; __u16 flags; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 100); __type(key, struct key); __type(value, struct value); }
  things SEC(".maps");
struct settings { __u32 active; __u32 generation; __u64 since; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32); __type(value, struct settings); } settings SEC(".maps");
const volatile __u32 verdict = 1;
static __always_inline struct settings *get(void) { __u32 zero = 0; return bpf_map_lookup_elem(&settings, &zero); }
static __always_inline void hit(__u32 id) {
  struct key key = { .id = id };
  struct value *value = bpf_map_lookup_elem(&things, &key);
  if (value) __sync_fetch_and_add(&value->hits, 1);
}
`;

const FIRST = `${SHARED}
int tail(struct __sk_buff *skb);
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2); __uint(key_size, 4);
  __array(values, int (struct __sk_buff *)); } tails SEC(".maps") = { .values = { [1] = (void *)&tail } };
volatile __u64 runs = 40;
volatile __u32 last;
SEC("tc") int first(struct __sk_buff *skb) {
  runs++; hit(1);
  struct settings *s = get();
  last = s ? s->generation : 0;
  if (s && s->active) bpf_tail_call(skb, &tails, s->active);
  return verdict;
}
SEC("tc") int tail(struct __sk_buff *skb) { return 77; }
`;
const SECOND = `${SHARED}
volatile __u64 runs;
SEC("tc") int second(struct __sk_buff *skb) { runs++; hit(2); return verdict + 100; }
SEC("cgroup/connect4") int unwanted(struct bpf_sock_addr *a) { return 1; }
`;

async function build(t: TestContext, sources: Record<string, string>): Promise<string> {
  const folder = testFolder(t);
  for (const [name, source] of Object.entries(sources)) await compileObject(folder, name, source);
  return folder;
}

function opener(t: TestContext, base: Pick<OpenOptions, 'objectDir' | 'pinDir'>) {
  return (options: Partial<OpenOptions> = {}): Programs => {
    const programs = openPrograms({ log: silentLog, ...base, ...options });
    t.after(() => programs.close());
    return programs;
  };
}

const openFds = () => fs.readdirSync('/proc/self/fd').length;

test('objects share maps by name; keys and values go by their fields', { skip }, async (t) => {
  const objectDir = await build(t, { first: FIRST, second: SECOND });
  const pinDir = join(testBpffs(t), 'node');
  const programs = opener(t, { objectDir, pinDir })();
  assert.deepEqual([...programs.programNames].sort(), ['first', 'second', 'tail', 'unwanted']);
  assert.deepEqual([...programs.mapNames].sort(), ['settings', 'tails', 'things']);
  const { key, value } = programs.mapCodecs('things');
  const things = programs.map('things');
  for (const id of [1, 2])
    things.update(key.encode({ id }), value.encode({ flags: id, mac: Uint8Array.of(2) }));
  testRun({ program: programs.program('first'), data: packet, repeat: 3 });
  testRun({ program: programs.program('second'), data: packet, repeat: 5 });
  const hits = Array.from(things.entries(), ([k, v]) => [key.decode(k)['id'], value.decode(v)['hits']]);
  assert.deepEqual(
    new Map(hits as [number, bigint][]),
    new Map<number, bigint>([
      [1, 3n],
      [2, 5n],
    ]),
  );
  assert.deepEqual(programs.codec('struct key').fields, key.fields);
  assert.deepEqual(
    fs
      .readdirSync(join(pinDir, 'maps'))
      .filter((name) => !name.includes('@'))
      .sort(),
    ['settings', 'things'],
  );
  assert.equal(programs.linkPath('eth0.7'), join(pinDir, 'links', 'eth0_7'));
});

test('constants are given before loading, other globals are read and written while programs run', {
  skip,
}, async (t) => {
  const objectDir = await build(t, { first: FIRST, second: SECOND });
  const programs = opener(t, { objectDir, pinDir: testBpffs(t) })({ globals: { verdict: 5, last: 9 } });
  const run = (name: string) => testRun({ program: programs.program(name), data: packet }).verdict;
  assert.equal(programs.global('last').read(), 9);
  assert.deepEqual([run('first'), run('second')], [5, 105]);
  // Of the two objects' `runs` the first is read and both are written.
  assert.equal(programs.global('runs').read(), 41n);
  programs.global('runs').write(1000n);
  run('first');
  assert.equal(programs.global('runs').read(), 1001n);
  assert.throws(() => programs.global('last').write(-1), { code: 'BtfValue' });
  assert.throws(() => programs.global('verdict'), { code: 'BpfMissing' });
});

test('the settings that all programs share are memory here, and outlive a restart', { skip }, async (t) => {
  const objectDir = await build(t, { first: FIRST, second: SECOND });
  const open = opener(t, { objectDir, pinDir: testBpffs(t) });
  const before = open();
  before.control('settings').set('generation', 8);
  before.control('settings').set('since', 2n ** 40n);
  testRun({ program: before.program('first'), data: packet });
  assert.equal(before.global('last').read(), 8);
  before.close();
  assert.throws(() => before.control('settings').read(), { code: 'BpfClosed' });
  const after = open();
  assert.deepEqual(after.control('settings').read(), { active: 0, generation: 8, since: 2n ** 40n });
  assert.equal(after.global('last').read(), 0);
  assert.deepEqual(after.migrations, []);
  assert.throws(() => after.control('things'), { code: 'BpfLayout' });
  assert.throws(() => after.control('settings').set('nothing', 1), { code: 'BtfValue' });
});

test('attached programs run on with no process of ours, and call into their own version', {
  skip,
}, async (t) => {
  const objectDir = await build(t, { first: FIRST });
  const pinDir = testBpffs(t);
  const open = opener(t, { objectDir, pinDir });
  const ns = testNetns(t);
  const attach = (programs: Programs) =>
    attachTc({
      ifindex: 1,
      ns,
      direction: 'ingress',
      program: programs.program('first'),
      pinPath: programs.linkPath('lo'),
    });
  const tables = () => fs.readdirSync(join(pinDir, 'maps')).filter((name) => name.includes('@'));
  const one = open();
  assert.equal(attach(one).created, true);
  one.settle();
  one.control('settings').set('active', 1);
  const old = testRun({ program: one.program('first'), data: packet });
  assert.equal(old.verdict, 77);
  const [table] = tables();
  one.close();
  const two = open();
  assert.equal(tables().length, 2);
  assert.equal(testRun({ program: two.program('first'), data: packet }).verdict, 77);
  assert.equal(attach(two).created, false);
  two.settle();
  assert.equal(tables().length, 1);
  assert.ok(!tables().includes(table!));
  assert.equal(testRun({ program: two.program('first'), data: packet }).verdict, 77);
});

test('a restart with the same build and constants loads nothing; any difference loads again', {
  skip,
}, async (t) => {
  const objectDir = await build(t, { second: SECOND });
  const pinDir = testBpffs(t);
  const open = opener(t, { objectDir, pinDir });
  const kept = () => fs.readdirSync(join(pinDir, 'programs')).length;
  const visit = (options: Partial<OpenOptions> = {}): [loaded: number, verdict: number, runs: unknown] => {
    const programs = open(options);
    const { verdict } = testRun({ program: programs.program('second'), data: packet });
    const runs = programs.global('runs').read();
    programs.settle();
    programs.close();
    return [programs.loaded.length, verdict, runs];
  };
  assert.deepEqual(visit(), [1, 101, 1n]);
  assert.deepEqual(visit(), [0, 101, 2n]);
  assert.deepEqual(visit({ globals: { verdict: 3 } }), [1, 103, 1n]);
  assert.equal(kept(), 1);
  assert.deepEqual(visit({ globals: { verdict: 3 } }), [0, 103, 2n]);
  assert.deepEqual(visit({ globals: { verdict: 3 }, skip: ['unwanted'] }), [1, 103, 1n]);
  assert.deepEqual(visit({ maxEntries: { things: 50 } }), [1, 101, 1n]);
  // Half a set of pins, as a process leaves that ends amid pinning, is none.
  const [folder] = fs.readdirSync(join(pinDir, 'programs'));
  fs.rmSync(join(pinDir, 'programs', folder!, 'second'));
  assert.deepEqual(visit({ maxEntries: { things: 50 } }), [1, 101, 1n]);
  await compileObject(objectDir, 'second', SECOND.replace('+ 100', '+ 200'));
  assert.deepEqual(visit({ maxEntries: { things: 50 } }), [1, 201, 1n]);
  assert.equal(kept(), 1);
});

test('nodes with folders of their own share nothing', { skip }, async (t) => {
  const objectDir = await build(t, { first: FIRST });
  const bpffs = testBpffs(t);
  const [a, b] = ['a', 'b'].map((node) => opener(t, { objectDir, pinDir: join(bpffs, node) })()) as [
    Programs,
    Programs,
  ];
  a.control('settings').set('generation', 3);
  assert.equal(b.control('settings').get('generation'), 0);
  assert.notEqual(a.map('things').id, b.map('things').id);
});

test('what cannot be is refused by name, and nothing stays open', { skip }, async (t) => {
  const objectDir = await build(t, { first: FIRST, second: SECOND });
  const pinDir = testBpffs(t);
  const open = opener(t, { objectDir, pinDir });
  open({ objects: ['first'] }).close();
  await new Promise((resolve) => setImmediate(resolve));
  const before = openFds();
  const other = await build(t, {
    other: SECOND.replace('__u16 flags;', '__u32 flags;'),
    bad: `${SHARED} SEC("tc") int bad(struct __sk_buff *skb) { return *(volatile int *)(long)skb->data; }`,
  });
  for (const name of ['first'])
    fs.copyFileSync(join(objectDir, `${name}.bpf.o`), join(other, `a-${name}.bpf.o`));
  assert.throws(() => open({ objects: ['nothing'] }), { code: 'BpfObject' });
  assert.throws(() => open({ objectDir: join(objectDir, 'none') }), { code: 'BpfObject' });
  assert.throws(() => open({ pinDir: join(objectDir, 'node') }), { code: 'BpfPins' });
  assert.throws(() => open({ globals: { verdikt: 1 } }), { code: 'BpfMissing', message: /verdikt/ });
  assert.throws(() => open({ globals: { verdict: -1 } }), { code: 'BtfValue' });
  assert.throws(() => open({ objectDir: other, objects: ['a-first', 'other'] }), {
    code: 'BpfLayout',
    message: /a-first and other define the map things differently: .*valueSize 16 → 24/,
  });
  assert.throws(
    () => open({ objectDir: other, objects: ['bad'] }),
    (error: { code?: string; hint?: string }) =>
      error.code === 'BpfLoad' && /invalid access to packet/.test(error.hint ?? ''),
  );
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(openFds(), before);
  const programs = open({ skip: ['unwanted'] });
  assert.ok(!programs.programNames.includes('unwanted'));
  assert.throws(() => programs.program('unwanted'), { code: 'BpfMissing' });
  assert.throws(() => programs.map('none'), { code: 'BpfMissing' });
  assert.throws(() => programs.codec('struct none'), { code: 'BpfMissing' });
});

test('opening and closing a hundred times leaves no descriptor', { skip }, async (t) => {
  const objectDir = await build(t, { first: FIRST, second: SECOND });
  const pinDir = testBpffs(t);
  const open = () => {
    const programs = openPrograms({ log: silentLog, objectDir, pinDir });
    programs.control('settings').get('active');
    programs.global('last').read();
    programs.settle();
    programs.close();
  };
  open();
  const before = openFds();
  for (let i = 0; i < 100; i++) open();
  assert.equal(openFds(), before);
});
