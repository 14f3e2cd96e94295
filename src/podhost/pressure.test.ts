import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { DEFAULT_THRESHOLDS, parseThresholds, type Thresholds } from '../api/eviction.ts';
import type { Clock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { type MachineRoom, memoryOf, readMachineRoom } from '../lib/machine-room.ts';
import { nodeRoom, steady } from './node-room.ts';
import { createNodePressure, type PressureCondition } from './pressure.ts';

const GI = 2 ** 30;
const laptop: MachineRoom = {
  cpus: 8,
  memory: { capacity: 16 * GI, available: 4 * GI },
  disk: { capacity: 1000 * GI, available: 80 * GI },
  inodes: { capacity: 1000, available: 500 },
  pids: { capacity: 32_768, available: 30_000 },
  hugePages: { 'hugepages-2Mi': 2 * GI },
};
const kubelet: Thresholds = parseThresholds(
  'memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%',
)!;

function watch(thresholds: Thresholds) {
  let now = 0;
  const state = { machine: laptop as MachineRoom | Error, changes: [] as PressureCondition[] };
  const pressure = createNodePressure({
    read: async () => {
      if (state.machine instanceof Error) throw state.machine;
      return state.machine;
    },
    thresholds,
    changed: (one) => void state.changes.push(one),
    clock: { monotonic: () => now } as Clock,
    log: silentLog,
  });
  return {
    state,
    /** Of the types that are true, after another look `seconds` later. */
    async after(seconds: number, machine: Partial<MachineRoom> | Error = {}) {
      now += seconds * 1000;
      state.machine = machine instanceof Error ? machine : { ...laptop, ...machine };
      await pressure.look();
      return pressure.conditions().flatMap(({ type, status }) => (status === 'True' ? [type] : []));
    },
    of: (type: string) => pressure.conditions().find((one) => one.type === type),
  };
}

test('a laptop’s disk that is 92 % full is no shortage, unless somebody asks for a kubelet’s threshold', async () => {
  assert.deepEqual(await watch(DEFAULT_THRESHOLDS).after(0), []);
  const { after, of } = watch(kubelet);
  assert.deepEqual(await after(0), ['DiskPressure']);
  assert.equal(of('DiskPressure')?.reason, 'KubeletHasDiskPressure');
  assert.match(
    of('DiskPressure')?.message ?? '',
    /^kubelet has disk pressure: nodefs.available is 80Gi, expected 100Gi; no new pods are taken$/,
  );
});

test('what is short is told once, and is over when it was over for a while', async () => {
  const { after, of, state } = watch(DEFAULT_THRESHOLDS);
  assert.deepEqual(await after(0), []);
  assert.deepEqual(
    ['MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) => of(type)?.reason),
    ['KubeletHasSufficientMemory', 'KubeletHasNoDiskPressure', 'KubeletHasSufficientPID'],
  );
  assert.deepEqual(state.changes, [], 'who begins well says nothing');
  const low = (available: number) => ({ disk: { capacity: 1000 * GI, available } });
  assert.deepEqual(await after(10, low(GI)), [], 'exactly enough is enough');
  assert.deepEqual(await after(10, low(GI - 1)), ['DiskPressure']);
  const words = of('DiskPressure')?.message;
  assert.deepEqual(await after(10, low(1000)), ['DiskPressure']);
  assert.equal(of('DiskPressure')?.message, words, 'the words stay: each change would be a write');
  assert.deepEqual(await after(10), ['DiskPressure'], 'not over at once');
  assert.deepEqual(await after(10, new Error('no such folder')), ['DiskPressure'], 'nobody knows');
  assert.deepEqual(await after(20), []);
  assert.deepEqual(
    state.changes.map(({ type, status }) => [type, status]),
    [
      ['DiskPressure', 'True'],
      ['DiskPressure', 'False'],
    ],
  );
});

test('each signal has its condition', async () => {
  const { after } = watch({ ...kubelet, ...parseThresholds('pid.available<1000') });
  const rich = { disk: { capacity: GI, available: GI } };
  assert.deepEqual(await after(0, rich), []);
  assert.deepEqual(await after(99, { ...rich, memory: { capacity: GI, available: 99 * 2 ** 20 } }), [
    'MemoryPressure',
  ]);
  assert.deepEqual(await after(99, { ...rich, inodes: { capacity: 1000, available: 49 } }), ['DiskPressure']);
  assert.deepEqual(
    await after(99, { ...rich, inodes: { capacity: 0, available: 0 } }),
    [],
    'a file system that does not count inodes is never short of them',
  );
  assert.deepEqual(await after(99, { ...rich, pids: { capacity: 32_768, available: 999 } }), ['PIDPressure']);
  assert.deepEqual(
    await watch({}).after(0, { disk: { capacity: GI, available: 0 } }),
    [],
    '--eviction-hard none',
  );
  assert.deepEqual(
    await watch(DEFAULT_THRESHOLDS).after(0, { disk: { capacity: 2 * GI, available: GI / 2 } }),
    [],
    'a small file system is not short from the start',
  );
});

test('thresholds are read as a kubelet reads them', () => {
  assert.deepEqual(parseThresholds('none'), {});
  assert.deepEqual(parseThresholds('nodefs.available<1%, pid.available<5'), {
    'nodefs.available': { share: 0.01 },
    'pid.available': { amount: 5 },
  });
  for (const text of [
    '',
    'nodefs.available',
    'nodefs.available<',
    'nodefs.available<101%',
    'nodefs.available<-1',
  ])
    assert.equal(parseThresholds(text), undefined, text);
  for (const text of ['imagefs.available<5%', 'pid.available<1,pid.available<2', 'pid.available<1,'])
    assert.equal(parseThresholds(text), undefined, text);
});

test('a node has what the machine has, less what eviction keeps free; or what it was given', () => {
  const { capacity, allocatable } = nodeRoom(laptop, DEFAULT_THRESHOLDS);
  assert.deepEqual(capacity, {
    cpu: '8',
    memory: '16Gi',
    'ephemeral-storage': '1000Gi',
    'hugepages-2Mi': '2Gi',
    pods: '1000',
  });
  assert.deepEqual(allocatable, { ...capacity, memory: '14236Mi', 'ephemeral-storage': '999Gi' });
  const share = { cpu: '1500m', memory: '512Mi', pods: '5', 'example.com/gpu': '2' };
  const given = nodeRoom(laptop, kubelet, share);
  assert.deepEqual(given.capacity, { ...capacity, ...share });
  assert.deepEqual(given.allocatable, { ...capacity, ...share, 'ephemeral-storage': '900Gi' });
});

test('the machine says what it has', async () => {
  const room = await readMachineRoom(tmpdir());
  for (const one of [room.memory, room.disk, room.pids])
    assert.ok(one.capacity > 0 && one.available <= one.capacity, JSON.stringify(room));
  assert.ok(room.cpus >= 1);
  assert.deepEqual(memoryOf('MemTotal:  2 kB\nMemFree: 9 kB\nMemAvailable:   1 kB\n'), {
    capacity: 2048,
    available: 1024,
  });
});

test('a size that changes a little with what others write is not told anew', () => {
  const sized = (capacity: number) => ({ ...laptop, disk: { capacity, available: capacity / 2 } });
  const first = steady(undefined, sized(1000));
  const second = steady(first, sized(995));
  assert.equal(second.disk.capacity, 1000);
  assert.equal(steady(second, sized(991)).disk.capacity, 1000);
  assert.equal(steady(second, sized(980)).disk.capacity, 980, 'steps add up');
});
