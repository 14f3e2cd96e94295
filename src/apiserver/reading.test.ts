/** Lists, pages, selectors, tables, and watches over HTTPS. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type Harness, startHarness } from './testing/harness.ts';

let api: Harness;
before(async () => {
  api = await startHarness({ window: { events: 300, bytes: 1 << 24 } });
});
after(() => api.close());

let spaces = 0;
/** A namespace of its own, and the path of its config maps. */
async function space(): Promise<string> {
  const name = `space-${++spaces}`;
  await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name } } });
  return `/api/v1/namespaces/${name}/configmaps`;
}
const put = async (path: string, name: string, labels = {}, data = {}) =>
  (await api.request('POST', path, { body: { metadata: { name, labels }, data } })).json;
const label = (path: string, name: string, labels: object) =>
  api.request('PATCH', `${path}/${name}`, {
    type: 'application/merge-patch+json',
    body: { metadata: { labels } },
  });

interface Shown {
  type: string;
  object: { kind: string; metadata: { name: string; resourceVersion: string; annotations?: object } };
}
const brief = (events: Shown[]) => events.map(({ type, object }) => `${type} ${object.metadata.name}`);
const names = (json: { items: { metadata: { name: string } }[] }) =>
  json.items.map(({ metadata }) => metadata.name);

test('a list is in order of names and carries the revision to watch from', async () => {
  const path = await space();
  for (const name of ['b', 'a', 'c']) await put(path, name);
  const { json } = await api.request('GET', path);
  assert.equal(json.kind, 'ConfigMapList');
  assert.deepEqual(names(json), ['a', 'b', 'c']);
  assert.equal(json.metadata.resourceVersion, String(api.store.revision()));
});

test('pages show one state whole, and a token too old is a 410', async () => {
  const path = await space();
  for (const name of ['a', 'b', 'c', 'd', 'e']) await put(path, name);
  const first = (await api.request('GET', `${path}?limit=2`)).json;
  assert.deepEqual(names(first), ['a', 'b']);
  assert.equal(first.metadata.remainingItemCount, 3);
  await api.request('DELETE', `${path}/c`);
  await put(path, 'bb');
  const rest = (await api.request('GET', `${path}?limit=9&continue=${first.metadata.continue}`)).json;
  assert.deepEqual(names(rest), ['c', 'd', 'e']);
  assert.equal(rest.metadata.continue, undefined);
  assert.equal(rest.metadata.resourceVersion, first.metadata.resourceVersion);
  assert.equal((await api.request('GET', `${path}?continue=nonsense`)).status, 400);
  const other = await space();
  for (let i = 0; i < 350; i++) await put(other, `n${i}`);
  const late = await api.request('GET', `${path}?limit=9&continue=${first.metadata.continue}`);
  assert.equal(late.status, 410);
  assert.equal(late.json.reason, 'Expired');
});

test('labels and fields select, and an unknown field is named', async () => {
  const path = await space();
  await put(path, 'a', { app: 'x', tier: 'web' });
  await put(path, 'b', { app: 'x' });
  await put(path, 'c', { app: 'y' });
  const select = async (query: string) => names((await api.request('GET', `${path}?${query}`)).json);
  assert.deepEqual(await select('labelSelector=app%3Dx'), ['a', 'b']);
  assert.deepEqual(await select('labelSelector=app%20in%20(x,y),!tier'), ['b', 'c']);
  assert.deepEqual(await select('fieldSelector=metadata.name%3Dc'), ['c']);
  assert.deepEqual(await select('fieldSelector=metadata.name!%3Dc&labelSelector=tier'), ['a']);
  const bad = await api.request('GET', `${path}?fieldSelector=data.a%3Dc`);
  assert.equal(bad.status, 400);
  assert.match(bad.json.message, /field label not supported: data\.a/);
});

test('an exact revision shows that past; one of the future is a 504 that names both', async () => {
  const path = await space();
  await put(path, 'a');
  const then = api.store.revision();
  await put(path, 'b');
  const exact = await api.request('GET', `${path}?resourceVersion=${then}&resourceVersionMatch=Exact`);
  assert.deepEqual(names(exact.json), ['a']);
  const notOlder = await api.request(
    'GET',
    `${path}?resourceVersion=${then}&resourceVersionMatch=NotOlderThan`,
  );
  assert.deepEqual(names(notOlder.json), ['a', 'b']);
  const future = await api.request('GET', `${path}?resourceVersion=${then + 1000}`);
  assert.equal(future.status, 504);
  assert.match(future.json.message, /Too large resource version/);
  assert.equal((await api.request('GET', `${path}?resourceVersion=x`)).status, 400);
});

test('a Table has the columns of its kind, and metadata alone can be asked for', async () => {
  const path = await space();
  await put(path, 'a', {}, { k: 'v' });
  const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
  const table = (await api.request('GET', path, { accept })).json;
  assert.equal(table.kind, 'Table');
  assert.deepEqual(
    table.columnDefinitions.map(({ name }: { name: string }) => name),
    ['Name', 'Data', 'Age'],
  );
  assert.deepEqual(table.rows[0].cells.slice(0, 2), ['a', 1]);
  assert.equal(table.rows[0].object.kind, 'PartialObjectMetadata');
  const one = (await api.request('GET', `${path}/a?includeObject=Object`, { accept })).json;
  assert.deepEqual(one.rows[0].object.data, { k: 'v' });
  const partial = 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io';
  const metadata = (await api.request('GET', path, { accept: partial })).json;
  assert.equal(metadata.kind, 'PartialObjectMetadataList');
  assert.equal(metadata.items[0].data, undefined);
  assert.equal(
    (await api.request('GET', path, { accept: 'application/vnd.kubernetes.protobuf' })).status,
    406,
  );
});

test('a watch without a revision tells what is, then what happens', async () => {
  const path = await space();
  await put(path, 'a');
  const watch = api.watch(`${path}?watch=1`);
  await watch.until(1);
  await put(path, 'b');
  await label(path, 'a', { x: 'y' });
  await api.request('DELETE', `${path}/b`);
  assert.deepEqual(brief(await watch.until(4)), ['ADDED a', 'ADDED b', 'MODIFIED a', 'DELETED b']);
  // The object that is gone carries the revision of its deletion.
  assert.equal(watch.events[3].object.metadata.resourceVersion, String(api.store.revision()));
  watch.stop();
});

test('with a selector, objects appear and disappear as they begin and cease to match', async () => {
  const path = await space();
  await put(path, 'a', { on: 'no' });
  const from = (await api.request('GET', path)).json.metadata.resourceVersion;
  const watch = api.watch(`${path}?watch=true&resourceVersion=${from}&labelSelector=on%3Dyes`);
  await label(path, 'a', { on: 'yes' });
  await label(path, 'a', { more: '1' });
  await label(path, 'a', { on: 'no' });
  await label(path, 'a', { more: '2' });
  await put(path, 'b', { on: 'yes' });
  assert.deepEqual(brief(await watch.until(4)), ['ADDED a', 'MODIFIED a', 'DELETED a', 'ADDED b']);
  watch.stop();
});

test('one object is watched by its name alone, by field or by path', async () => {
  const path = await space();
  await put(path, 'a');
  const byField = api.watch(`${path}?watch=1&fieldSelector=metadata.name%3Da`);
  const byPath = api.watch(`${path}/a?watch=1`);
  await Promise.all([byField.until(1), byPath.until(1)]);
  await put(path, 'ab');
  await label(path, 'a', { x: 'y' });
  for (const watch of [byField, byPath]) {
    assert.deepEqual(brief(await watch.until(2)), ['ADDED a', 'MODIFIED a']);
    watch.stop();
  }
});

test('a watch from a forgotten revision is a 410, so is one from the future', async () => {
  const path = await space();
  const old = await api.request('GET', `${path}?watch=1&resourceVersion=2`);
  assert.equal(old.status, 410);
  assert.match(old.json.message, /too old resource version: 2 \(\d+\)/);
  assert.equal((await api.request('GET', `${path}?watch=1&resourceVersion=99999999`)).status, 410);
});

test('a watch that asks for the first objects gets a bookmark after them', async () => {
  const path = await space();
  await put(path, 'a');
  const watch = api.watch(
    `${path}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`,
  );
  const [first, bookmark] = (await watch.until(2)) as Shown[];
  assert.equal(first?.type, 'ADDED');
  assert.equal(bookmark?.type, 'BOOKMARK');
  assert.deepEqual(bookmark?.object.metadata.annotations, { 'k8s.io/initial-events-end': 'true' });
  watch.stop();
});

test('a watch ends after its time, with a bookmark to go on from', async () => {
  const path = await space();
  const watch = api.watch(`${path}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true`);
  await watch.ended;
  const last = watch.events.at(-1) as Shown;
  assert.equal(last.type, 'BOOKMARK');
  assert.equal(last.object.metadata.resourceVersion, String(api.store.revision()));
});

test('a watch of Tables sends a row an event, and the columns once', async () => {
  const path = await space();
  await put(path, 'a');
  const watch = api.watch(`${path}?watch=1`, {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
  });
  await watch.until(1);
  await put(path, 'b');
  const [first, second] = await watch.until(2);
  assert.equal(first.object.kind, 'Table');
  assert.ok(first.object.columnDefinitions.length > 0);
  assert.equal(second.object.columnDefinitions, null);
  assert.equal(second.object.rows[0].cells[0], 'b');
  watch.stop();
});

test('a watch from any revision replays to what a list shows', async () => {
  const operation = fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    value: fc.option(fc.record({ on: fc.constantFrom('yes', 'no'), n: fc.nat(99) })),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 2, maxLength: 10 }),
      fc.nat(100),
      fc.boolean(),
      async (operations, from, selecting) => {
        const path = await space();
        const query = selecting ? '&labelSelector=on%3Dyes' : '';
        const state = async () =>
          (await api.request('GET', `${path}?limit=500${query}`)).json as {
            metadata: { resourceVersion: string };
            items: { metadata: { name: string } }[];
          };
        const lists = [await state()];
        for (const { name, value } of operations) {
          if (!value) await api.request('DELETE', `${path}/${name}`);
          else {
            const body = { metadata: { name, labels: { on: value.on } }, data: { n: String(value.n) } };
            const { status } = await api.request('PUT', `${path}/${name}`, { body });
            if (status === 404) await api.request('POST', path, { body });
          }
          lists.push(await state());
        }
        const start = lists[from % lists.length]!;
        const replayed = new Map(start.items.map((item) => [item.metadata.name, item]));
        const { resourceVersion } = start.metadata;
        const watch = api.watch(
          `${path}?watch=1&resourceVersion=${resourceVersion}${query}&allowWatchBookmarks=1`,
        );
        await put(path, 'z-last', { on: 'yes' });
        while (!brief(watch.events as Shown[]).includes('ADDED z-last'))
          await watch.until(watch.events.length + 1);
        watch.stop();
        for (const { type, object } of watch.events as Shown[])
          if (type === 'DELETED')
            assert.ok(replayed.delete(object.metadata.name), 'deleted what was not there');
          else {
            assert.equal(replayed.has(object.metadata.name), type === 'MODIFIED');
            replayed.set(object.metadata.name, object);
          }
        const end = await state();
        assert.deepEqual(
          [...replayed.values()].toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)),
          end.items,
        );
      },
    ),
    { numRuns: 15 },
  );
});

test('after a restart a watch goes on from where it was, and nothing acknowledged is lost', async () => {
  const path = await space();
  await put(path, 'a');
  const { resourceVersion } = (await api.request('GET', path)).json.metadata;
  await put(path, 'b');
  await api.request('DELETE', `${path}/a`);
  const watch = api.watch(`${path}?watch=1&resourceVersion=${resourceVersion}`);
  await watch.until(2);
  await api.restart();
  await watch.ended;
  const again = api.watch(`${path}?watch=1&resourceVersion=${resourceVersion}`);
  assert.deepEqual(brief(await again.until(2)), ['ADDED b', 'DELETED a']);
  again.stop();
  assert.deepEqual(names((await api.request('GET', path)).json), ['b']);
});
