/** Who may ask, what is served, health, metrics, shutdown. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../lib/errors.ts';
import { parseTokens } from './authenticate.ts';
import { formOf, parseAccept } from './negotiate.ts';
import { requestInfo } from './request-info.ts';
import { type Harness, startHarness } from './testing/harness.ts';

let api: Harness;
before(async () => {
  api = await startHarness();
});
after(() => api.close());

test('health and version are open to anybody, nothing else is', async () => {
  for (const path of ['/livez', '/readyz', '/healthz', '/version', '/readyz/store'])
    assert.equal((await api.request('GET', path, { as: 'none' })).status, 200, path);
  for (const path of ['/api', '/api/v1/pods', '/metrics', '/openapi/v3']) {
    const { status, json } = await api.request('GET', path, { as: 'none' });
    assert.equal(status, 403, path);
    assert.match(json.message, /User "system:anonymous" cannot/);
  }
});

test('a user without rights is told what was refused, as Kubernetes says it', async () => {
  const { status, json } = await api.request('GET', '/api/v1/namespaces/default/pods/x', { as: 'nobody' });
  assert.equal(status, 403);
  assert.equal(
    json.message,
    'pods "x" is forbidden: User "bob" cannot get resource "pods" in API group "" in the namespace "default"',
  );
  const list = await api.request('GET', '/apis/apps/v1/deployments', { as: 'nobody' });
  assert.equal(
    list.json.message,
    'deployments.apps is forbidden: User "bob" cannot list resource "deployments" in API group "apps" at the cluster scope',
  );
  assert.equal((await api.request('GET', '/api/v1', { as: 'nobody' })).status, 200);
});

test('a certificate of another authority is refused, whatever it says', async () => {
  const { status, json } = await api.request('GET', '/version', { as: 'stranger' });
  assert.equal(status, 401);
  assert.equal(json.reason, 'Unauthorized');
});

test('a token that is known has its groups; another is refused', async () => {
  const ask = (token: string) =>
    api.request('GET', '/api/v1/pods', { as: 'none', headers: { authorization: `Bearer ${token}` } });
  assert.equal((await ask('secret-token')).status, 200);
  assert.equal((await ask('guess')).status, 401);
});

test('clients may ask who they are and what they may', async () => {
  const review = (as: 'admin' | 'nobody', group: string, resource: string) =>
    api.request('POST', `/apis/${group}/v1/${resource}`, { as, body: { spec: {} } });
  const who = await review('nobody', 'authentication.k8s.io', 'selfsubjectreviews');
  assert.deepEqual(who.json.status.userInfo, {
    username: 'bob',
    groups: ['developers', 'system:authenticated'],
  });
  const can = async (as: 'admin' | 'nobody') =>
    (await review(as, 'authorization.k8s.io', 'selfsubjectaccessreviews')).json.status.allowed;
  assert.deepEqual([await can('admin'), await can('nobody')], [true, false]);
});

test('discovery says the same in both forms', async () => {
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
  const found: string[] = [];
  for (const root of ['/api', '/apis']) {
    const { json, headers } = await api.request('GET', root, { accept });
    assert.equal(
      headers['content-type'],
      'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
    );
    for (const group of json.items)
      for (const version of group.versions) {
        const path =
          group.metadata.name === ''
            ? `/api/${version.version}`
            : `/apis/${group.metadata.name}/${version.version}`;
        const legacy = (await api.request('GET', path)).json;
        const names: string[] = version.resources.flatMap(
          ({
            resource,
            subresources = [],
          }: {
            resource: string;
            subresources?: { subresource: string }[];
          }) => [resource, ...subresources.map(({ subresource }) => `${resource}/${subresource}`)],
        );
        assert.deepEqual(
          legacy.resources.map(({ name }: { name: string }) => name),
          names,
        );
        found.push(...names);
      }
  }
  for (const name of ['pods', 'pods/binding', 'deployments/scale', 'networkpolicies'])
    assert.ok(found.includes(name), name);
  assert.deepEqual((await api.request('GET', '/api')).json.versions, ['v1']);
  assert.ok((await api.request('GET', '/apis')).json.groups.length >= 3);
});

test('OpenAPI documents are at the addresses their index gives', async () => {
  const { paths } = (await api.request('GET', '/openapi/v3')).json;
  for (const { serverRelativeURL } of Object.values<{ serverRelativeURL: string }>(paths)) {
    const { status, json } = await api.request('GET', serverRelativeURL);
    assert.equal(status, 200);
    assert.equal(json.openapi, '3.0.0');
  }
  assert.equal((await api.request('GET', '/openapi/v3/apis/none/v1')).status, 404);
});

test('requests and the store are counted', async () => {
  await api.request('GET', '/api/v1/pods');
  const { text } = await api.request('GET', '/metrics');
  assert.match(text, /^apiserver_request_total\{code="200",resource="pods",verb="LIST"\} \d+$/m);
  assert.match(text, /^apiserver_request_duration_seconds_count\{resource="pods",verb="LIST"\} \d+$/m);
  assert.match(text, /^heddle_store_revision \d+$/m);
});

test('the paths of Kubernetes are read as Kubernetes reads them', () => {
  const read = (method: string, url: string) => {
    const { resource } = requestInfo(method, url);
    if (!resource) return undefined;
    const { verb, group, resource: name, namespace, name: object, subresource } = resource;
    return [verb, group, name, namespace, object, subresource];
  };
  assert.deepEqual(read('GET', '/api/v1/pods'), ['list', '', 'pods', '', '', '']);
  assert.deepEqual(read('GET', '/api/v1/pods?watch=true'), ['watch', '', 'pods', '', '', '']);
  assert.deepEqual(read('GET', '/api/v1/namespaces/a'), ['get', '', 'namespaces', 'a', 'a', '']);
  assert.deepEqual(read('PUT', '/api/v1/namespaces/a/finalize'), [
    'update',
    '',
    'namespaces',
    'a',
    'a',
    'finalize',
  ]);
  assert.deepEqual(read('DELETE', '/api/v1/namespaces/a/pods'), [
    'deletecollection',
    '',
    'pods',
    'a',
    '',
    '',
  ]);
  assert.deepEqual(read('PATCH', '/apis/apps/v1/namespaces/a/deployments/b/scale'), [
    'patch',
    'apps',
    'deployments',
    'a',
    'b',
    'scale',
  ]);
  assert.equal(read('GET', '/apis/apps/v1'), undefined);
  assert.equal(read('GET', '/version'), undefined);
});

test('no path or Accept header breaks the parsers', async () => {
  fc.assert(
    fc.property(
      fc.webPath(),
      fc.webQueryParameters(),
      (path, query) => void requestInfo('GET', `${path}?${query}`),
    ),
  );
  fc.assert(fc.property(fc.string(), (text) => void parseAccept(text)));
  assert.equal((await api.request('GET', '/api/v1/pods/%E0%A4%A')).status, 400);
  assert.deepEqual(formOf('text/html, */*;q=0.1'), { as: 'object' });
});

test('a token file is read by lines, and a broken one is named by its line', () => {
  assert.deepEqual(parseTokens('# who\nt1,ann,7,"a,b"\nt2,bob,\n'), [
    { token: 't1', user: { name: 'ann', uid: '7', groups: ['a', 'b', 'system:authenticated'] } },
    { token: 't2', user: { name: 'bob', uid: '', groups: ['system:authenticated'] } },
  ]);
  assert.throws(
    () => parseTokens('t1,ann,7\nbroken'),
    (error: unknown) =>
      error instanceof HeddleError && error.code === 'BadTokenFile' && error.message.includes('line 2'),
  );
});

test('a closing server ends its watches and answers no more', async () => {
  const own = await startHarness();
  const watch = own.watch('/api/v1/pods?watch=1&allowWatchBookmarks=true');
  await own.request('POST', '/api/v1/namespaces', { body: { metadata: { name: 'n' } } });
  const closed = own.close();
  await watch.ended;
  await closed;
  await assert.rejects(own.request('GET', '/readyz'), /ECONNREFUSED/);
});
