import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createCgroup, findCgroup2Mount, removeCgroup } from '../cgroup.ts';
import type { Netns } from '../netns.ts';
import { openRoute } from '../route.ts';
import { run, spawnIn } from '../spawn.ts';
import { testBpffs, testFolder, testNetns } from '../test-netns.ts';
import { attachCgroup, attachTc, attachXdp, detach, detachTc, type TcOptions } from './links.ts';
import { openMap } from './map.ts';
import { openObject } from './object.ts';
import { probeBpf } from './probe.ts';
import { compileObject, needsBpf } from './test-object.ts';

const skip = needsBpf;
/** Bytes of UDP payload that mark the test's packets. */
const PAYLOAD = 137;

const SOURCE = `
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); }
  counts SEC(".maps");
static __always_inline int count(__u32 slot, __u32 length, int verdict) {
  __u64 *n = bpf_map_lookup_elem(&counts, &slot);
  if (length == 14 + 20 + 8 + ${PAYLOAD} && n) __sync_fetch_and_add(n, 1);
  return verdict;
}
SEC("tc") int first(struct __sk_buff *skb) { return count(0, skb->len, TC_ACT_OK); }
SEC("tc") int second(struct __sk_buff *skb) { return count(1, skb->len, TC_ACT_OK); }
SEC("xdp") int xdp_first(struct xdp_md *x) { return count(2, x->data_end - x->data, XDP_PASS); }
SEC("xdp") int xdp_second(struct xdp_md *x) { return count(3, x->data_end - x->data, XDP_PASS); }
SEC("cgroup/connect4") int refuse(struct bpf_sock_addr *a) { return 0; }
SEC("cgroup/connect4") int allow(struct bpf_sock_addr *a) { return 1; }
`;

async function load(t: TestContext) {
  const object = openObject(await compileObject(testFolder(t), 'links', SOURCE));
  const { programs, maps } = object.load();
  object.close();
  const counts = openMap(maps.get('counts')!, 'counts');
  t.after(() => {
    for (const fd of programs.values()) fs.closeSync(fd);
    counts.close();
  });
  return {
    program: (name: string) => programs.get(name)!,
    counted: () => Array.from(counts.entries(), ([, value]) => Number(Buffer.from(value).readBigUInt64LE())),
  };
}

/** A child that sends `count` marked packets to itself over `lo` and ends. */
function sender(ns: Netns, count: number) {
  const script = `
    const socket = require('dgram').createSocket('udp4'), data = Buffer.alloc(${PAYLOAD});
    let left = ${count};
    const next = () => left-- > 0 ? socket.send(data, 9, '127.0.0.1', next) : socket.close();
    socket.on('error', () => {});
    next();`;
  return spawnIn({ argv: [process.execPath, '-e', script], netns: ns });
}

const links = (ns: Netns) => {
  const route = openRoute(ns);
  try {
    return route.links();
  } finally {
    route.close();
  }
};

const tcx = !skip && probeBpf().tcx.ok;

for (const way of ['tcx', 'clsact'] as const)
  for (const direction of ['ingress', 'egress'] as const)
    test(`${way} ${direction}: every packet meets one program while programs are replaced`, {
      skip: skip || (way === 'tcx' && !tcx && 'needs Linux 6.6'),
    }, async (t) => {
      const { program, counted } = await load(t);
      const ns = testNetns(t);
      const pinPath = join(testBpffs(t), 'tc');
      const options: TcOptions = { ifindex: 1, ns, direction, program: program('first'), pinPath, way };
      assert.deepEqual(attachTc(options), { way, created: true });
      const packets = 5000;
      const child = sender(ns, packets);
      const ended = once(child, 'exit');
      let replaced = 0;
      while (child.exitCode === null) {
        const name = replaced % 2 ? 'first' : 'second';
        assert.deepEqual(attachTc({ ...options, program: program(name) }), { way, created: false });
        replaced++;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      assert.deepEqual(await ended, [0, null]);
      const [first = 0, second = 0] = counted();
      assert.equal(first + second, packets);
      assert.ok(first > 0 && second > 0, `${first} + ${second}`);
      assert.equal(detachTc(options), true);
      assert.equal(detachTc(options), false);
      await once(sender(ns, 3), 'exit');
      assert.deepEqual(counted().slice(0, 2), [first, second]);
      t.diagnostic(`${replaced} replacements`);
    });

test('a kernel’s own way is chosen, and the other takes its place without a gap', { skip }, async (t) => {
  const { program, counted } = await load(t);
  const ns = testNetns(t);
  const pinPath = join(testBpffs(t), 'tc');
  const options: TcOptions = { ifindex: 1, ns, direction: 'egress', program: program('first'), pinPath };
  const { way } = attachTc(options);
  assert.equal(way, tcx ? 'tcx' : 'clsact');
  assert.deepEqual(attachTc({ ...options, program: program('second'), way: 'clsact' }).way, 'clsact');
  await once(sender(ns, 5), 'exit');
  assert.deepEqual(counted().slice(0, 2), [0, 5]);
  assert.deepEqual(attachTc(options), { way, created: false });
  const { stdout } = await run(['tc', 'filter', 'show', 'dev', 'lo', 'egress'], { netns: ns });
  assert.equal(stdout.includes('clsact') || stdout.includes('heddle'), way === 'clsact');
  await once(sender(ns, 5), 'exit');
  assert.deepEqual(counted().slice(0, 2), [5, 5]);
});

test('an interface that was made again under the same pin gets a program again', { skip }, async (t) => {
  const { program } = await load(t);
  const ns = testNetns(t);
  const pinPath = join(testBpffs(t), 'tc');
  const route = openRoute(ns);
  t.after(() => route.close());
  for (const round of [1, 2]) {
    route.addVeth({ name: 'a', peer: { name: 'b' } });
    const ifindex = route.link('a')!.index;
    const options: TcOptions = { ifindex, ns, direction: 'ingress', program: program('first'), pinPath };
    assert.equal(attachTc(options).created, true, `round ${round}`);
    assert.equal(attachTc(options).created, false);
    assert.throws(() => attachTc({ ...options, ifindex: 9999, pinPath: `${pinPath}9` }), {
      code: tcx ? 'Kernel' : 'Netlink',
    });
    route.deleteLink('a');
  }
});

test('XDP runs in the driver where it can, else in the stack, and is replaced in place', {
  skip,
}, async (t) => {
  const { program, counted } = await load(t);
  const ns = testNetns(t);
  const pins = testBpffs(t);
  const route = openRoute(ns);
  t.after(() => route.close());
  route.addVeth({ name: 'a', peer: { name: 'b' } });
  const ifindex = route.link('a')!.index;
  const first = program('xdp_first');
  assert.deepEqual(attachXdp({ ifindex, ns, program: first, pinPath: join(pins, 'a') }), {
    way: 'native',
    created: true,
  });
  assert.throws(() => attachXdp({ ifindex, ns, program: first, pinPath: join(pins, 'other') }), {
    code: 'BpfAttach',
  });
  const lo = { ifindex: 1, ns, program: first, pinPath: join(pins, 'lo') };
  assert.deepEqual(attachXdp(lo), { way: 'generic', created: true });
  await once(sender(ns, 4), 'exit');
  assert.deepEqual(attachXdp({ ...lo, program: program('xdp_second') }), { way: 'generic', created: false });
  await once(sender(ns, 3), 'exit');
  assert.deepEqual(counted().slice(2), [4, 3]);
  assert.equal(detach(lo.pinPath), true);
  assert.equal(detach(lo.pinPath), false);
  await once(sender(ns, 3), 'exit');
  assert.deepEqual(counted().slice(2), [4, 3]);
  assert.equal(links(ns).length, 3);
});

test('a cgroup’s program refuses, is replaced, is gone', {
  skip: skip || (findCgroup2Mount() ? false : 'needs cgroup2'),
}, async (t) => {
  const { program } = await load(t);
  const ns = testNetns(t);
  const pinPath = join(testBpffs(t), 'connect4');
  const cgroup = join(findCgroup2Mount()!, `heddle-test-${process.pid}-links`);
  createCgroup(cgroup);
  t.after(() => removeCgroup(cgroup));
  const connect = async (): Promise<string> => {
    const script = `require('net').connect(9, '127.0.0.1').on('error', (e) => console.log(e.code))`;
    return (await run([process.execPath, '-e', script], { netns: ns, cgroup })).stdout.trim();
  };
  const options = { cgroup, attachType: 'connect4', pinPath } as const;
  assert.equal(await connect(), 'ECONNREFUSED');
  assert.deepEqual(attachCgroup({ ...options, program: program('refuse') }), {
    way: 'cgroup',
    created: true,
  });
  assert.equal(await connect(), 'EPERM');
  assert.deepEqual(attachCgroup({ ...options, program: program('allow') }), {
    way: 'cgroup',
    created: false,
  });
  assert.equal(await connect(), 'ECONNREFUSED');
  attachCgroup({ ...options, program: program('refuse') });
  assert.equal(detach(pinPath), true);
  assert.equal(await connect(), 'ECONNREFUSED');
  assert.throws(() => attachCgroup({ ...options, cgroup: `${cgroup}-not`, program: program('allow') }), {
    code: 'BpfAttach',
  });
});
