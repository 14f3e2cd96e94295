import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../lib/errors.ts';
import { createLeases } from './leases.ts';
import type { Holder, Leases, Ledger } from './ledger.ts';
import type { TuningProfile } from './profile.ts';
import { type Access, sameForm, type Sysctls } from './sysctls.ts';

const KEYS = ['net.a.x', 'net.a.y', 'net.a.z'];

class Crash extends Error {}

/** A kernel and a disk that stop at once where a machine's process is killed: after so many changes. */
function machine(values: Record<string, string>) {
  const kernel = new Map(Object.entries(values));
  let disk: Leases = {};
  let left = Infinity;
  const dead = new Set<string>();
  const refuses = new Set<string>();
  const spend = () => {
    if (left-- <= 0) throw new Crash();
  };
  const sysctls: Sysctls = {
    access: (key): Access => (kernel.has(key) ? 'writable' : 'missing'),
    read: (key) => sameForm(kernel.get(key) ?? ''),
    write(key, value) {
      spend();
      if (refuses.has(value)) throw new HeddleError('Sysctl', 'EINVAL');
      kernel.set(key, value.replaceAll(' ', '\t'));
    },
  };
  const ledger: Ledger = {
    read: () => structuredClone(disk),
    async write(leases) {
      spend();
      disk = structuredClone(leases);
    },
  };
  const book = createLeases({
    ledger,
    sysctls,
    isAlive: ({ name }) => !dead.has(name),
    now: () => 0,
  });
  return {
    kernel,
    book,
    dead,
    refuses,
    value: (key: string) => sameForm(kernel.get(key) ?? ''),
    disk: () => disk,
    crashAfter(changes: number) {
      left = changes;
    },
  };
}

const holder = (name: string): Holder => ({ name, pid: 1, startTime: 1 });
const profile = (values: Record<string, string>, optional = false): TuningProfile => ({
  name: 'p',
  description: '',
  keys: Object.entries(values).map(([key, value]) => ({ key, value, reason: 'why', optional })),
});
const start = { 'net.a.x': '1', 'net.a.y': '1\t2\t3', 'net.a.z': '5' };

test('the newest holder decides, the last one restores', async () => {
  const m = machine(start);
  await m.book.apply(holder('a'), profile({ 'net.a.x': '10' }));
  await m.book.apply(holder('b'), profile({ 'net.a.x': '20', 'net.a.y': '4 5 6' }));
  assert.deepEqual([m.value('net.a.x'), m.value('net.a.y')], ['20', '4 5 6']);
  await m.book.release(({ name }) => name === 'b');
  assert.deepEqual([m.value('net.a.x'), m.value('net.a.y')], ['10', '1 2 3']);
  assert.deepEqual(Object.keys(m.disk()), ['net.a.x']);
  await m.book.release(() => true);
  assert.equal(m.value('net.a.x'), '1');
  assert.deepEqual(m.disk(), {});
});

test('a holder that died loses its lease to whoever looks next', async () => {
  const m = machine(start);
  await m.book.apply(holder('a'), profile({ 'net.a.x': '10' }));
  await m.book.apply(holder('b'), profile({ 'net.a.x': '20' }));
  m.dead.add('b');
  assert.deepEqual(
    Object.values(m.book.held())[0]?.leases.map((lease) => lease.holder.name),
    ['a'],
  );
  await m.book.collect();
  assert.equal(m.value('net.a.x'), '10');
  m.dead.add('a');
  await m.book.collect();
  assert.equal(m.value('net.a.x'), '1');
});

test('what somebody else changed since is left to him', async () => {
  const m = machine(start);
  await m.book.apply(holder('a'), profile({ 'net.a.x': '10', 'net.a.z': '6' }));
  m.kernel.set('net.a.x', '99');
  const steps = await m.book.release(() => true);
  assert.deepEqual(
    steps.map(({ key, action }) => [key, action]),
    [
      ['net.a.x', 'leave'],
      ['net.a.z', 'restore'],
    ],
  );
  assert.deepEqual([m.value('net.a.x'), m.value('net.a.z')], ['99', '5']);
});

test('a value that the kernel refuses changes nothing at all', async () => {
  const m = machine(start);
  m.refuses.add('bad');
  await assert.rejects(m.book.apply(holder('a'), profile({ 'net.a.x': '10', 'net.a.z': 'bad' })), {
    code: 'TuningRefused',
    message: /net\.a\.z = bad/,
  });
  assert.deepEqual(Object.fromEntries(m.kernel), start);
  assert.deepEqual(m.disk(), {});
});

test('a setting that is not there is refused before anything changes, or left out where that was said', async () => {
  const m = machine(start);
  await assert.rejects(m.book.apply(holder('a'), profile({ 'net.a.x': '10', 'net.b.q': '1' })), {
    code: 'TuningRefused',
    message: /net\.b\.q = 1/,
  });
  assert.deepEqual(Object.fromEntries(m.kernel), start);
  const steps = await m.book.apply(holder('a'), profile({ 'net.a.x': '10', 'net.b.q': '1' }, true));
  assert.deepEqual(
    steps.map(({ action }) => action),
    ['write', 'skip'],
  );
});

test('a dry run says what would be done, and does nothing', async () => {
  const m = machine(start);
  const steps = await m.book.apply(holder('a'), profile({ 'net.a.x': '10', 'net.a.z': '5' }), {
    dryRun: true,
  });
  assert.deepEqual(
    steps.map(({ action, from, to }) => [action, from, to]),
    [
      ['write', '1', '10'],
      ['none', '5', '5'],
    ],
  );
  assert.deepEqual([Object.fromEntries(m.kernel), m.disk()], [start, {}]);
});

const values = fc.constantFrom('1', '7', '8 9');
const command = fc.oneof(
  fc.record({
    do: fc.constant('apply' as const),
    who: fc.constantFrom('a', 'b', 'c'),
    keys: fc.dictionary(fc.constantFrom(...KEYS), values, { minKeys: 1 }),
    crash: fc.option(fc.nat(6), { nil: Infinity }),
  }),
  fc.record({
    do: fc.constant('release' as const),
    who: fc.constantFrom('a', 'b', 'c'),
    crash: fc.option(fc.nat(6), { nil: Infinity }),
  }),
  fc.record({ do: fc.constant('die' as const), who: fc.constantFrom('a', 'b', 'c'), crash: fc.nat(6) }),
);

test('whatever was applied, released, killed and cut short: once all are gone everything is as it was', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 12 }), async (commands) => {
      const m = machine(start);
      for (const step of commands) {
        m.crashAfter(step.crash);
        try {
          if (step.do === 'apply') await m.book.apply(holder(step.who), profile(step.keys));
          else if (step.do === 'release') await m.book.release(({ name }) => name === step.who);
          else {
            m.dead.add(step.who);
            await m.book.collect();
          }
        } catch (error) {
          const cause = error instanceof HeddleError ? error.cause : error;
          assert.ok(cause instanceof Crash, String(error));
        }
        m.crashAfter(Infinity);
        m.dead.clear();
      }
      for (const name of ['a', 'b', 'c']) m.dead.add(name);
      await m.book.collect();
      for (const [key, value] of Object.entries(start)) assert.equal(m.value(key), sameForm(value), key);
      assert.deepEqual(m.disk(), {});
    }),
    { numRuns: 2000 },
  );
});
