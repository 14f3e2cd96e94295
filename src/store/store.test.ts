import assert from 'node:assert/strict';
import { mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../lib/errors.ts';
import { createStore, type StoreOptions } from './store.ts';
import { CompactedError, ConflictError, type Store, type StoreEvent } from './types.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-store-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function open(t: TestContext, options: Partial<StoreOptions> = {}): Promise<Store> {
  const store = await createStore({ path: join(folder(t), 'store.db'), ...options });
  t.after(() => store.close());
  return store;
}

const code = (wanted: string) => (error: unknown) => error instanceof HeddleError && error.code === wanted;
const byKey = ([a]: [string, string], [b]: [string, string]) => (a < b ? -1 : 1);
const pairs = (store: Store, prefix = 'core/pods/') =>
  store.list(prefix).items.map(({ key, value }) => [key, value]);

test('what is written can be read, listed in key order, and deleted', async (t) => {
  const store = await open(t);
  assert.equal(store.revision(), 1);
  const b = await store.write({ key: 'core/pods/b', value: '"b"' });
  await store.write({ key: 'core/pods/a', value: (revision) => String(revision) });
  await store.write({ key: 'core/podsets/c', value: '"c"' });
  assert.deepEqual(store.get('core/pods/b'), { key: 'core/pods/b', revision: b.revision, value: '"b"' });
  assert.deepEqual(pairs(store), [
    ['core/pods/a', '3'],
    ['core/pods/b', '"b"'],
  ]);
  const gone = await store.write({ key: 'core/pods/b', value: null });
  assert.equal(gone.before?.value, '"b"');
  assert.equal(store.get('core/pods/b'), undefined);
  assert.equal(store.revision(), 5);
});

test('a write that expects another revision is refused, also against a write still under way', async (t) => {
  const store = await open(t);
  const first = store.write({ key: 'a/b/c', value: '1', expect: 0 });
  const second = store.write({ key: 'a/b/c', value: '2', expect: 0 });
  const { revision } = await first;
  await assert.rejects(
    second,
    (error) => error instanceof ConflictError && error.current?.revision === revision,
  );
  assert.equal(store.get('a/b/c')?.value, '1');
  await store.write({ key: 'a/b/c', value: '3', expect: revision });
  await assert.rejects(store.write({ key: 'a/b/c', value: null, expect: revision }), ConflictError);
  assert.equal(store.stats().conflicts, 2);
});

test('of many writers that each add one by compare-and-swap, none is lost', async (t) => {
  const store = await open(t);
  await store.write({ key: 'a/b/n', value: '0' });
  const addOne = async (): Promise<void> => {
    for (;;) {
      const now = store.get('a/b/n')!;
      try {
        await store.write({ key: 'a/b/n', value: String(Number(now.value) + 1), expect: now.revision });
        return;
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: 50 }, addOne));
  assert.equal(store.get('a/b/n')?.value, '50');
});

test('a watch from any revision ends in the state that a list shows, and tells what was before', async (t) => {
  const store = await open(t);
  const operation = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.option(fc.nat(9)) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 1, maxLength: 30 }),
      fc.nat(),
      async (operations, from) => {
        const start = store.revision();
        const states = new Map([[start, new Map(pairs(store, 'p/q/') as [string, string][])]]);
        const half = Math.floor(operations.length / 2);
        const run = async ({ key, value }: { key: string; value: number | null }) => {
          await store.write({ key: `p/q/${key}`, value: value === null ? null : String(value) });
          states.set(store.revision(), new Map(pairs(store, 'p/q/') as [string, string][]));
        };
        for (const one of operations.slice(0, half)) await run(one);
        const known = [...states.keys()];
        const at = known[from % known.length]!;
        const state = new Map(states.get(at));
        const close = store.watch('p/q/', at, (events) => {
          for (const { key, now, before } of events) {
            assert.equal(state.get(key), before?.value);
            if (now) state.set(key, now.value);
            else state.delete(key);
          }
        });
        for (const one of operations.slice(half)) await run(one);
        close();
        assert.deepEqual([...state].toSorted(byKey), pairs(store, 'p/q/'));
        for (const [revision, then] of states)
          assert.deepEqual(
            store.list('p/q/', { revision }).items.map(({ key, value }) => [key, value]),
            [...then].toSorted(byKey),
          );
      },
    ),
    { numRuns: 40 },
  );
});

test('watchers get their own prefix only, in order, each event once', async (t) => {
  const store = await open(t);
  const seen: Record<string, number[]> = { all: [], one: [], key: [], future: [] };
  const into = (name: string) => (events: StoreEvent[]) =>
    void seen[name]!.push(...events.map(({ revision }) => revision));
  store.watch('core/pods/', 1, into('all'));
  store.watch('core/pods/x/', 1, into('one'));
  store.watch('core/pods/x/a', 1, into('key'));
  const close = store.watch('core/pods/', 4, into('future'));
  await Promise.all(
    ['core/pods/x/a', 'core/pods/y/a', 'core/pods/x/ab', 'core/pods/x/a', 'core/podsx/x/a'].map((key) =>
      store.write({ key, value: '1' }),
    ),
  );
  assert.deepEqual(seen, { all: [2, 3, 4, 5], one: [2, 4, 5], key: [2, 5], future: [5] });
  close();
  close();
  assert.equal(store.stats().watchers, 3);
});

test('after a restart all is as before: values, revision, events to resume from', async (t) => {
  const path = join(folder(t), 'store.db');
  const before = await createStore({ path });
  await before.write({ key: 'core/pods/a', value: '1' });
  await before.write({ key: 'core/pods/a', value: '2' });
  await before.write({ key: 'core/pods/b', value: '1' });
  const { revision } = await before.write({ key: 'core/pods/b', value: null });
  await before.close();
  const store = await createStore({ path });
  t.after(() => store.close());
  assert.equal(store.revision(), revision);
  assert.deepEqual(pairs(store), [['core/pods/a', '2']]);
  const events: StoreEvent[] = [];
  store.watch('core/pods/', 2, (more) => events.push(...more));
  assert.deepEqual(
    events.map(({ key, now, before }) => [key, before?.value, now?.value]),
    [
      ['core/pods/a', '1', '2'],
      ['core/pods/b', undefined, '1'],
      ['core/pods/b', '1', undefined],
    ],
  );
  assert.equal((await store.write({ key: 'core/pods/c', value: '1' })).revision, revision + 1);
});

test('history is bounded, in memory and on disk; older revisions are refused, also after a restart', async (t) => {
  const path = join(folder(t), 'store.db');
  const window = { events: 50, bytes: 1 << 20 };
  let store = await createStore({ path, window });
  for (let i = 0; i < 400; i++)
    await store.write({ key: `core/pods/${i % 7}`, value: i % 3 === 0 ? null : `"${'x'.repeat(2000)}${i}"` });
  const state = pairs(store);
  const { compacted, events } = store.stats();
  assert.ok(events <= 50);
  assert.throws(() => store.watch('core/pods/', compacted - 1, () => {}), CompactedError);
  assert.throws(() => store.list('core/pods/', { revision: compacted - 1 }), CompactedError);
  store.watch('core/pods/', compacted, () => {})();
  await store.close();
  // 400 values of 2 kB are 800 kB; what is kept is at most 57 of them, and the write-ahead log is gone.
  assert.ok(statSync(path).size < 400_000);
  store = await createStore({ path, window });
  t.after(() => store.close());
  assert.deepEqual(pairs(store), state);
  assert.throws(() => store.watch('core/pods/', 2, () => {}), CompactedError);
  store.watch('core/pods/', store.stats().compacted, () => {})();
});

test('paging through an old revision shows that revision whole', async (t) => {
  const store = await open(t);
  for (const name of ['a', 'b', 'c', 'd', 'e']) await store.write({ key: `x/y/${name}`, value: '1' });
  const first = store.list('x/y/', { limit: 2 });
  assert.equal(first.remaining, 3);
  await store.write({ key: 'x/y/c', value: null });
  await store.write({ key: 'x/y/bb', value: '2' });
  const rest = store.list('x/y/', { revision: first.revision, after: first.items.at(-1)!.key });
  assert.deepEqual(
    rest.items.map(({ key }) => key),
    ['x/y/c', 'x/y/d', 'x/y/e'],
  );
});

test('a full store refuses writes, stays whole, and takes writes again when there is room', async (t) => {
  const path = join(folder(t), 'store.db');
  const window = { events: 10, bytes: 1 << 20 };
  const store = await createStore({ path, maxPages: 100, window });
  const big = (n: number) => JSON.stringify('x'.repeat(40_000) + n);
  const acknowledged = new Map<string, string>();
  let refused: unknown;
  for (let i = 0; i < 30 && !refused; i++)
    try {
      await store.write({ key: `x/y/${i}`, value: big(i) });
      acknowledged.set(`x/y/${i}`, big(i));
    } catch (error) {
      refused = error;
    }
  assert.ok(code('StoreFull')(refused), String(refused));
  assert.deepEqual(new Map(pairs(store, 'x/y/') as [string, string][]), acknowledged);
  assert.ok(!store.failed.aborted);
  // Deleting makes room once the history of what was deleted is forgotten.
  for (const key of [...acknowledged.keys()].slice(0, 6)) {
    await store.write({ key, value: null });
    acknowledged.delete(key);
  }
  for (let i = 0; i < 20; i++) await store.write({ key: 'x/z/small', value: '1' });
  await store.write({ key: 'x/y/new', value: big(0) });
  acknowledged.set('x/y/new', big(0));
  await store.close();
  const again = await createStore({ path });
  t.after(() => again.close());
  assert.deepEqual(new Map(pairs(again, 'x/y/') as [string, string][]), acknowledged);
});

test('a second opener is refused', async (t) => {
  const path = join(folder(t), 'store.db');
  const store = await createStore({ path });
  t.after(() => store.close());
  await assert.rejects(createStore({ path, busyTimeout: 10 }), code('StoreBusy'));
});

test('a damaged file, another program’s file and a missing folder are named as such', async (t) => {
  const dir = folder(t);
  writeFileSync(
    join(dir, 'text.db'),
    'this is no database, but it is long enough to be looked at'.repeat(100),
  );
  await assert.rejects(createStore({ path: join(dir, 'text.db') }), code('StoreCorrupt'));

  const { DatabaseSync } = await import('node:sqlite');
  const other = new DatabaseSync(join(dir, 'other.db'));
  other.exec('CREATE TABLE t(a)');
  other.close();
  await assert.rejects(createStore({ path: join(dir, 'other.db') }), code('StoreFormat'));

  const path = join(dir, 'store.db');
  const store = await createStore({ path });
  for (let i = 0; i < 200; i++) await store.write({ key: `x/y/${i}`, value: `"${'x'.repeat(500)}"` });
  await store.close();
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(8192, 0xa5), 0, 8192, 3 * 4096);
  await assert.rejects(createStore({ path }), code('StoreCorrupt'));
  await assert.rejects(createStore({ path: join(dir, 'missing', 'store.db') }), code('StoreOpen'));
});

test('a closed store refuses writes', async (t) => {
  const store = await createStore({ path: join(folder(t), 'store.db') });
  await store.close();
  await assert.rejects(store.write({ key: 'a/b/c', value: '1' }), code('StoreFailed'));
});
