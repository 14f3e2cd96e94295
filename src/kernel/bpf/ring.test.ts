import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../test-netns.ts';
import { openMap } from './map.ts';
import { openObject } from './object.ts';
import { openRing } from './ring.ts';
import { enableStats, programStats } from './stats.ts';
import { compileObject, needsBpf } from './test-object.ts';
import { testRun } from './test-run.ts';

const skip = needsBpf;
const packet = new Uint8Array(64).fill(7);

/** Each run writes record `n`, of 8 to 64 bytes, its number in all of its words; each seventh is thrown away. */
const SOURCE = `
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); }
  other SEC(".maps");
volatile __u64 n, lost;
#define WRITE(words) { \\
    __u64 *r = bpf_ringbuf_reserve(&ring, 8 * words, 0); \\
    if (!r) { lost++; return TC_ACT_SHOT; } \\
    for (int i = 0; i < words; i++) r[i] = n; \\
    n++; \\
    if (n % 7 == 0) bpf_ringbuf_discard(r, 0); else bpf_ringbuf_submit(r, 0); \\
    return TC_ACT_OK; }
SEC("tc") int write(struct __sk_buff *skb) {
  switch (n % 4) { case 0: WRITE(1) case 1: WRITE(3) case 2: WRITE(8) default: WRITE(5) }
}
SEC("tc") int touch(struct __sk_buff *skb) {
  __u8 byte = 9;
  skb->mark += 5; skb->cb[1] = skb->ingress_ifindex;
  bpf_skb_store_bytes(skb, 20, &byte, 1, 0);
  bpf_skb_change_tail(skb, 70, 0);
  return TC_ACT_REDIRECT;
}
SEC("xdp") int shorten(struct xdp_md *x) { return bpf_xdp_adjust_head(x, 4) ? XDP_ABORTED : XDP_TX; }
SEC("cgroup/connect4") int hook(struct bpf_sock_addr *a) { return 1; }
`;

async function load(t: TestContext) {
  const object = openObject(await compileObject(testFolder(t), 'ring', SOURCE));
  const { programs, maps } = object.load();
  object.close();
  const ring = openMap(maps.get('ring')!, 'ring');
  const other = openMap(maps.get('other')!, 'other');
  const globals = openMap(maps.get('.bss')!, 'bss');
  t.after(() => {
    for (const fd of programs.values()) fs.closeSync(fd);
    for (const map of [ring, other, globals]) map.close();
  });
  return { program: (name: string) => programs.get(name)!, ring, other };
}

test('records come in order and whole, over many times the buffer’s size', { skip }, async (t) => {
  const { program, ring: map } = await load(t);
  const seen: number[] = [];
  let turns = 0;
  const ring = openRing({
    map,
    onRecord(bytes, at, length) {
      const words = new BigUint64Array(bytes.slice(at, at + length).buffer);
      assert.equal(words.length, [1, 3, 8, 5][Number(words[0]) % 4]);
      assert.ok(words.every((word) => word === words[0]));
      seen.push(Number(words[0]));
    },
    onDrained: () => turns++,
  });
  t.after(() => ring.close());
  const total = 5000;
  for (let sent = 0; sent < total; sent += 20) {
    assert.equal(testRun({ program: program('write'), data: packet, repeat: 20 }).verdict, 0);
    // Now by the event loop, now at once.
    if (sent % 40) ring.drain();
    else while (ring.pending() > 0) await new Promise((resolve) => setImmediate(resolve));
  }
  ring.drain();
  const expected = Array.from({ length: total }, (_, n) => n).filter((n) => (n + 1) % 7 !== 0);
  assert.deepEqual(seen, expected);
  assert.ok(turns > 100);
});

test('a full buffer loses what is new, and goes on', { skip }, async (t) => {
  const { program, ring: map } = await load(t);
  let records = 0;
  const ring = openRing({ map, onRecord: () => records++ });
  t.after(() => ring.close());
  const { verdict } = testRun({ program: program('write'), data: packet, repeat: 1000 });
  assert.equal(verdict, 2);
  assert.ok(ring.pending() > 4000);
  ring.drain();
  assert.ok(records > 50 && records < 1000, `${records}`);
  const before = records;
  assert.equal(testRun({ program: program('write'), data: packet, repeat: 3 }).verdict, 0);
  ring.drain();
  assert.ok(records >= before + 2);
});

test('a reader that fails or closes amid the records harms nothing', { skip }, async (t) => {
  const { program, ring: map } = await load(t);
  let seen = 0;
  const failing = openRing({
    map,
    onRecord() {
      if (seen++ === 1) throw new Error('no');
    },
  });
  testRun({ program: program('write'), data: packet, repeat: 5 });
  assert.throws(() => failing.drain(), { message: 'no' });
  assert.equal(failing.drain(), 3);
  failing.close();
  failing.close();
  assert.equal(failing.pending(), 0);
  const closing = openRing({ map, onRecord: () => closing.close() });
  testRun({ program: program('write'), data: packet, repeat: 5 });
  assert.equal(closing.drain(), 1);
  assert.equal(closing.drain(), 0);
});

test('only a ring buffer is one', { skip }, async (t) => {
  const { other } = await load(t);
  assert.throws(() => openRing({ map: other, onRecord: () => {} }), { code: 'BpfLayout' });
});

test('a test run gives the verdict, the packet and the context as the program left them', {
  skip,
}, async (t) => {
  const { program } = await load(t);
  const before = packet.slice();
  const touched = testRun({
    program: program('touch'),
    data: packet,
    context: { mark: 3, ingressIfindex: 1, cb: [1, 2, 3], tstamp: 9n },
  });
  assert.equal(touched.verdict, 7);
  assert.deepEqual(touched.context, { mark: 8, priority: 0, cb: [1, 1, 3, 0, 0], tstamp: 9n });
  assert.equal(touched.data.length, 70);
  assert.equal(touched.data[20], 9);
  assert.deepEqual(packet, before);
  const shortened = testRun({ program: program('shorten'), data: packet });
  assert.deepEqual([shortened.verdict, shortened.data.length], [3, 60]);
  assert.throws(() => testRun({ program: program('touch'), data: new Uint8Array(3) }), { code: 'Kernel' });
  assert.throws(() => testRun({ program: program('hook'), data: packet }), { code: 'Kernel' });
});

test('runs and their time are counted while somebody asks for it', { skip }, async (t) => {
  const { program } = await load(t);
  const fd = program('touch');
  const stats = enableStats();
  const before = programStats(fd);
  testRun({ program: fd, data: packet, repeat: 100 });
  const after = programStats(fd);
  stats.close();
  stats.close();
  assert.equal(after.runs - before.runs, 100n);
  assert.ok(after.runTimeNs > before.runTimeNs);
  assert.equal(after.name, 'touch');
  assert.ok(after.verifiedInstructions > 5);
});
