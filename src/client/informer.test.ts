import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { CONFIG_MAP } from '../api/kinds.ts';
import type { ConfigMap } from '../api/types.ts';
import { silentLog } from '../lib/log.ts';
import { ApiError } from './api-error.ts';
import { createClient } from './client.ts';
import { type FakeClient, createFakeClient, eventually } from './fake.ts';
import { type InformerOptions, createInformer, isNewer } from './informer.ts';
import { sendJson, startTestServer } from './test-server.ts';
import type { Client } from './types.ts';

const config = (name: string, value = '0', labels = {}): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'shop', labels },
  data: { value },
});
const retry = { first: 2, longest: 20 };

function start<T = ConfigMap>(
  t: TestContext,
  client: Client,
  options: Partial<InformerOptions<ConfigMap, T>> = {},
) {
  const informer = createInformer<ConfigMap, T>(client, CONFIG_MAP, { log: silentLog, retry, ...options });
  const stop = new AbortController();
  const done = informer.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await done;
  });
  return informer;
}

const valuesIn = (list: readonly ConfigMap[]) =>
  list.map((one) => `${one.metadata.name}=${one.data?.['value']}`).join(' ');

test('the copy has what was there, in pages, and what happens after', async (t) => {
  const client = createFakeClient();
  for (const name of ['c', 'a', 'b']) await client.create(CONFIG_MAP, config(name));
  const informer = start(t, client, { pageSize: 2 });
  await informer.synced();
  assert.equal(valuesIn(informer.list()), 'a=0 b=0 c=0');
  await client.update(CONFIG_MAP, config('b', '1'));
  await client.delete(CONFIG_MAP, 'c', 'shop');
  await client.create(CONFIG_MAP, config('d'));
  await eventually('d', () => informer.get('shop/d') !== undefined);
  assert.equal(valuesIn(informer.list()), 'a=0 b=1 d=0');
});

test('changes of one turn are told once, from the first before to the last now', async (t) => {
  const client = createFakeClient();
  const informer = start(t, client);
  await informer.synced();
  const told: string[] = [];
  informer.onChange((key, now, before) => {
    told.push(`${key} ${before?.data?.['value'] ?? '-'}>${now?.data?.['value'] ?? '-'}`);
  });
  client.hold = true;
  await client.create(CONFIG_MAP, config('a', '1'));
  await client.update(CONFIG_MAP, config('a', '2'));
  await client.create(CONFIG_MAP, config('gone'));
  await client.delete(CONFIG_MAP, 'gone', 'shop');
  client.release();
  await eventually('told', () => told.length > 0);
  assert.deepEqual(told, ['shop/a ->2']);
});

test('whoever listens late is told at once of what is there, and of no change twice', async (t) => {
  const client = createFakeClient();
  await client.create(CONFIG_MAP, config('a', '1'));
  const informer = start(t, client);
  const told: string[] = [];
  const tell = (who: string) =>
    informer.onChange((key, now, before) => {
      told.push(`${who}: ${key} ${before?.data?.['value'] ?? '-'}>${now?.data?.['value'] ?? '-'}`);
    });
  await informer.synced();
  tell('first');
  assert.deepEqual(told.splice(0), ['first: shop/a ->1']);
  // In the very turn of a change.
  const [held] = informer.list();
  assert.ok(held);
  informer.remember(await client.update(CONFIG_MAP, config('a', '2')));
  tell('second');
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(told, ['first: shop/a 1>2', 'second: shop/a ->2']);
});

test('a revision that is gone lists again and tells what was missed, deletions too', async (t) => {
  const client = createFakeClient();
  await client.create(CONFIG_MAP, config('old'));
  await client.create(CONFIG_MAP, config('kept'));
  const informer = start(t, client);
  await informer.synced();
  const told = new Map<string, boolean>();
  informer.onChange((key, now) => told.set(key, now !== undefined));
  told.clear();
  client.hold = true;
  await client.delete(CONFIG_MAP, 'old', 'shop');
  await client.create(CONFIG_MAP, config('new'));
  client.compact();
  client.cut();
  client.release();
  await eventually('both', () => told.size === 2);
  assert.deepEqual(Object.fromEntries(told), { 'shop/new': true, 'shop/old': false });
});

test('an own write is seen at once, and an older event does not undo it', async (t) => {
  const client = createFakeClient();
  const first = await client.create(CONFIG_MAP, config('a', '1'));
  const informer = start(t, client);
  await informer.synced();
  client.hold = true;
  await client.update(CONFIG_MAP, config('a', '2'));
  const own = await client.update(CONFIG_MAP, config('a', '3'));
  informer.remember(own);
  assert.equal(valuesIn(informer.list()), 'a=3');
  informer.remember(first);
  const seen = new Set<string>();
  informer.onChange((_key, now) => seen.add(now?.data?.['value'] ?? '-'));
  client.release();
  await client.create(CONFIG_MAP, config('z'));
  await eventually('z', () => informer.get('shop/z') !== undefined);
  assert.ok(!seen.has('2'));
});

test('an own write does not bring back what the copy already saw go', async (t) => {
  const client = createFakeClient();
  const informer = start(t, client);
  await informer.synced();
  const own = await client.create(CONFIG_MAP, config('a'));
  await client.delete(CONFIG_MAP, 'a', 'shop');
  await client.create(CONFIG_MAP, config('z'));
  await eventually('z', () => informer.get('shop/z') !== undefined);
  informer.remember(own);
  assert.equal(informer.get('shop/a'), undefined);
});

test('only what is kept is held, and indexes follow it', async (t) => {
  const client = createFakeClient();
  for (const [name, app] of [
    ['b', 'x'],
    ['a', 'x'],
    ['c', 'y'],
  ] as const)
    await client.create(CONFIG_MAP, config(name, '0', { app }));
  const informer = start<{ name: string; app: string }>(t, client, {
    keep: (one) => ({ name: one.metadata.name, app: one.metadata.labels?.['app'] ?? '' }),
  });
  const byApp = informer.byIndex('app', (one) => [one.app]);
  await informer.synced();
  const names = (app: string) => byApp(app).map((one) => one.name);
  assert.deepEqual(names('x'), ['a', 'b']);
  await client.update(CONFIG_MAP, config('a', '0', { app: 'y' }));
  await eventually('moved', () => byApp('y').length === 2);
  assert.deepEqual([names('x'), names('y'), names('z')], [['b'], ['a', 'c'], []]);
  assert.deepEqual(informer.get('shop/a'), { name: 'a', app: 'y' });
});

test('after any sequence of writes, cuts and compactions the copy equals the server', async () => {
  const step = fc.oneof(
    fc.tuple(fc.constantFrom('put', 'delete'), fc.constantFrom('a', 'b', 'c')),
    fc.constantFrom(['cut'], ['compact'], ['hold'], ['release'], ['wait']),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const client = createFakeClient();
      const informer = createInformer<ConfigMap>(client, CONFIG_MAP, { log: silentLog, retry, pageSize: 2 });
      const copy = new Map<string, string>();
      informer.onChange((key, now) =>
        now ? copy.set(key, now.metadata.resourceVersion!) : copy.delete(key),
      );
      const stop = new AbortController();
      const done = informer.run(stop.signal);
      await informer.synced();
      let n = 0;
      for (const [what, name = ''] of steps) await act(client, what, name, n++);
      client.release();
      const wanted = () =>
        client
          .all(CONFIG_MAP)
          .map((one) => `${one.metadata.name}@${one.metadata.resourceVersion}`)
          .join();
      const held = () =>
        informer
          .list()
          .map((one) => `${one.metadata.name}@${one.metadata.resourceVersion}`)
          .join();
      await eventually('equal', () => wanted() === held());
      await new Promise(setImmediate);
      stop.abort();
      await done;
      const told = [...copy].map(([key, at]) => `${key.slice(5)}@${at}`).sort();
      assert.equal(told.join(), wanted());
    }),
    { numRuns: 60 },
  );
});

async function act(client: FakeClient, what: string, name: string, n: number): Promise<void> {
  if (what === 'put') {
    await client
      .create(CONFIG_MAP, config(name, String(n)))
      .catch(() => client.update(CONFIG_MAP, config(name, String(n))));
  } else if (what === 'delete') await client.delete(CONFIG_MAP, name, 'shop').catch(() => {});
  else if (what === 'cut') client.cut();
  else if (what === 'compact') client.compact();
  else if (what === 'hold') client.hold = true;
  else if (what === 'release') client.release();
  else await new Promise(setImmediate);
}

test('a server that was killed and came back on its port is followed again from the last revision', async (t) => {
  let lists = 0;
  let watches: string[] = [];
  const item = { ...config('a'), metadata: { name: 'a', namespace: 'shop', resourceVersion: '5' } };
  const answer = (asked: { url: URL }, response: ServerResponse) => {
    const query = asked.url.searchParams;
    if (!query.has('watch')) {
      lists++;
      sendJson(response, 200, { metadata: { resourceVersion: '5' }, items: [item] });
      return;
    }
    watches.push(query.get('resourceVersion') ?? '');
    const object = { ...item, metadata: { ...item.metadata, resourceVersion: '6' }, data: { value: '6' } };
    response.writeHead(200).write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`);
  };
  const first = await startTestServer(answer);
  const client = createClient({ server: first.url });
  t.after(() => client.close());
  const informer = start(t, client);
  await eventually('6', () => informer.get('shop/a')?.data?.['value'] === '6');
  watches = [];
  await first.close();
  const second = await startTestServer(answer, first.port);
  t.after(() => second.close());
  await eventually('watched again', () => watches.length > 0);
  assert.equal(watches[0], '6');
  assert.equal(lists, 1);
});

test('of a kind that a server does not have there is none, until it has it', async (t) => {
  const client = createFakeClient();
  await client.create(CONFIG_MAP, config('a'));
  let served = false;
  const missing = () => {
    if (!served) throw new ApiError(404, 'NotFound', 'the server could not find the requested resource');
  };
  const unsure: Client = {
    ...client,
    async list(kind, options) {
      missing();
      return await client.list(kind, options);
    },
    watch(kind, options, signal) {
      missing();
      return client.watch(kind, options, signal);
    },
  };
  const required = start(t, unsure);
  const optional = start(t, unsure, { absentFor: 5 });
  await optional.synced();
  assert.deepEqual([optional.list(), required.hasSynced], [[], false]);
  served = true;
  await eventually('the kind is followed', () => optional.get('shop/a') !== undefined);
  served = false;
  client.cut();
  await eventually('it is gone again', () => optional.list().length === 0);
});

test('revisions are compared as numbers of any length', () => {
  assert.ok(isNewer('10', '9'));
  assert.ok(!isNewer('9', '10'));
  assert.ok(!isNewer('9', '9'));
  assert.ok(!isNewer('x', '9'));
  assert.ok(isNewer('18446744073709551616', '18446744073709551615'));
});
