/** Creating, reading and changing objects over HTTPS. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Harness, startHarness } from './testing/harness.ts';

let api: Harness;
before(async () => {
  api = await startHarness();
});
after(() => api.close());

const configMaps = '/api/v1/namespaces/default/configmaps';
const deployments = '/apis/apps/v1/namespaces/default/deployments';
const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';

const configMap = (name: string, data: Record<string, string> = {}) => ({ metadata: { name }, data });
const deployment = (name: string) => ({
  metadata: { name },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    },
  },
});

test('what is created has identity, times and a revision, and reads back as it was answered', async () => {
  const made = await api.request('POST', configMaps, { body: configMap('first', { a: '1' }) });
  assert.equal(made.status, 201);
  const { metadata } = made.json;
  assert.equal(made.json.kind, 'ConfigMap');
  assert.equal(metadata.namespace, 'default');
  assert.match(metadata.uid, /^[0-9a-f-]{36}$/);
  assert.match(metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.match(metadata.resourceVersion, /^\d+$/);
  const read = await api.request('GET', `${configMaps}/first`);
  assert.equal(read.text, made.text);
});

test('a second create of the same name is a 409 AlreadyExists, worded as Kubernetes does', async () => {
  await api.request('POST', configMaps, { body: configMap('twice') });
  const { status, json } = await api.request('POST', configMaps, { body: configMap('twice') });
  assert.equal(status, 409);
  assert.deepEqual(json, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: 'configmaps "twice" already exists',
    reason: 'AlreadyExists',
    details: { name: 'twice', kind: 'configmaps' },
    code: 409,
  });
});

test('what is not there is a 404 with its group', async () => {
  const { status, json } = await api.request('GET', `${deployments}/none`);
  assert.equal(status, 404);
  assert.equal(json.message, 'deployments.apps "none" not found');
  assert.deepEqual(json.details, { name: 'none', group: 'apps', kind: 'deployments' });
  const path = await api.request('GET', '/apis/nothing.example/v1/things');
  assert.equal(path.json.message, 'the server could not find the requested resource');
});

test('an update with an old revision is a conflict; without one it is not', async () => {
  const made = (await api.request('POST', configMaps, { body: configMap('raced') })).json;
  const first = await api.request('PUT', `${configMaps}/raced`, { body: { ...made, data: { n: '1' } } });
  assert.equal(first.status, 200);
  const second = await api.request('PUT', `${configMaps}/raced`, { body: { ...made, data: { n: '2' } } });
  assert.equal(second.status, 409);
  assert.equal(
    second.json.message,
    'Operation cannot be fulfilled on configmaps "raced": the object has been modified; please apply your changes to the latest version and try again',
  );
  const blind = await api.request('PUT', `${configMaps}/raced`, { body: configMap('raced', { n: '3' }) });
  assert.equal(blind.status, 200);
  assert.equal(blind.json.metadata.uid, made.metadata.uid);
  assert.deepEqual(blind.json.data, { n: '3' });
});

test('an update that changes nothing writes nothing', async () => {
  const made = (await api.request('POST', configMaps, { body: configMap('same', { a: '1' }) })).json;
  const again = await api.request('PUT', `${configMaps}/same`, { body: made });
  assert.equal(again.json.metadata.resourceVersion, made.metadata.resourceVersion);
});

test('many patches at once all count', async () => {
  await api.request('POST', configMaps, { body: configMap('busy') });
  const answers = await Promise.all(
    Array.from({ length: 15 }, (_, i) =>
      api.request('PATCH', `${configMaps}/busy`, { type: MERGE, body: { data: { [`k${i}`]: 'x' } } }),
    ),
  );
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  const { json } = await api.request('GET', `${configMaps}/busy`);
  assert.equal(Object.keys(json.data).length, 15);
});

test('the three patch types change an object; apply patches are refused with what to do instead', async () => {
  await api.request('POST', deployments, { body: deployment('patched') });
  const path = `${deployments}/patched`;
  const strategic = await api.request('PATCH', path, {
    type: STRATEGIC,
    body: { spec: { template: { spec: { containers: [{ name: 'side', image: 's' }] } } } },
  });
  assert.deepEqual(
    strategic.json.spec.template.spec.containers.map(({ name }: { name: string }) => name).toSorted(),
    ['c', 'side'],
  );
  assert.equal(strategic.json.metadata.generation, 2);
  const json = await api.request('PATCH', path, {
    type: JSON_PATCH,
    body: [{ op: 'replace', path: '/spec/replicas', value: 4 }],
  });
  assert.equal(json.json.spec.replicas, 4);
  const failing = await api.request('PATCH', path, {
    type: JSON_PATCH,
    body: [{ op: 'test', path: '/spec/replicas', value: 5 }],
  });
  assert.equal(failing.status, 422);
  const merge = await api.request('PATCH', path, { type: MERGE, body: { metadata: { labels: { a: 'b' } } } });
  assert.deepEqual(merge.json.metadata.labels, { a: 'b' });
  assert.equal(merge.json.metadata.generation, 3);
  const apply = await api.request('PATCH', path, { type: 'application/apply-patch+yaml', body: '{}' });
  assert.equal(apply.status, 415);
  assert.match(apply.json.message, /without --server-side/);
});

test('a patch that names a revision is held to it', async () => {
  const { json } = await api.request('POST', configMaps, { body: configMap('held') });
  const { resourceVersion } = json.metadata;
  const body = { metadata: { resourceVersion }, data: { a: '1' } };
  assert.equal((await api.request('PATCH', `${configMaps}/held`, { type: MERGE, body })).status, 200);
  const stale = { metadata: { resourceVersion }, data: { a: '2' } };
  assert.equal((await api.request('PATCH', `${configMaps}/held`, { type: MERGE, body: stale })).status, 409);
});

test('status and spec are written by different doors', async () => {
  const made = (
    await api.request('POST', deployments, {
      body: { ...deployment('doors'), status: { replicas: 9 } },
    })
  ).json;
  assert.notEqual(made.status?.replicas, 9);
  const path = `${deployments}/doors`;
  const status = await api.request('PUT', `${path}/status`, {
    body: { ...made, spec: { ...made.spec, replicas: 7 }, status: { replicas: 3 } },
  });
  assert.equal(status.json.status.replicas, 3);
  assert.equal(status.json.spec.replicas, 1);
  assert.equal(status.json.metadata.generation, 1);
  const spec = await api.request('PUT', path, {
    body: { ...status.json, spec: { ...made.spec, replicas: 7 }, status: { replicas: 0 } },
  });
  assert.equal(spec.json.status.replicas, 3);
  assert.equal(spec.json.spec.replicas, 7);
  assert.equal(spec.json.metadata.generation, 2);
});

test('scale reads and writes replicas, and refuses negative ones', async () => {
  await api.request('POST', deployments, { body: deployment('scaled') });
  const path = `${deployments}/scaled/scale`;
  const { json } = await api.request('GET', path);
  assert.equal(json.kind, 'Scale');
  assert.equal(json.status.selector, 'app=scaled');
  const put = await api.request('PUT', path, { body: { ...json, spec: { replicas: 5 } } });
  assert.equal(put.json.spec.replicas, 5);
  const patch = await api.request('PATCH', path, { type: MERGE, body: { spec: { replicas: 2 } } });
  assert.equal(patch.json.spec.replicas, 2);
  const bad = await api.request('PATCH', path, { type: MERGE, body: { spec: { replicas: -1 } } });
  assert.equal(bad.status, 422);
});

test('invalid objects are refused with every field’s cause', async () => {
  const body = { metadata: { name: 'bad' }, spec: { ports: [{ port: 70000 }, { port: 80 }] } };
  const { status, json } = await api.request('POST', '/api/v1/namespaces/default/services', { body });
  assert.equal(status, 422);
  assert.equal(json.reason, 'Invalid');
  assert.match(json.message, /^Service "bad" is invalid: \[spec\.ports\[0\]/);
  assert.ok(
    json.details.causes.some(
      ({ field, reason }: { field: string; reason: string }) =>
        field === 'spec.ports[0].port' && reason === 'FieldValueInvalid',
    ),
  );
  const nameless = await api.request('POST', configMaps, { body: { metadata: {} } });
  assert.equal(nameless.status, 422);
  assert.match(nameless.json.message, /name or generateName is required/);
});

test('unknown fields are refused, told or dropped, as asked', async () => {
  const body = { ...configMap('fields'), dtaa: { a: 'b' } };
  const strict = await api.request('POST', `${configMaps}?fieldValidation=Strict`, { body });
  assert.equal(strict.status, 400);
  assert.match(strict.json.message, /strict decoding error: unknown field "dtaa"/);
  const warn = await api.request('POST', configMaps, { body });
  assert.equal(warn.status, 201);
  assert.equal(warn.headers.warning, '299 - "unknown field \\"dtaa\\""');
  assert.equal(warn.json.dtaa, undefined);
  const foreign = { ...configMap('fields'), 'é\n日': 1 };
  const escaped = await api.request('PUT', `${configMaps}/fields`, { body: foreign });
  assert.equal(escaped.status, 200);
  assert.match(String(escaped.headers.warning), /\\u00e9.*\\u65e5/);
  const ignore = await api.request('PUT', `${configMaps}/fields?fieldValidation=Ignore`, { body });
  assert.equal(ignore.headers.warning, undefined);
  assert.equal((await api.request('POST', `${configMaps}?fieldValidation=x`, { body })).status, 422);
});

test('what is stored and not acted on yet is told with each write, not with its status', async () => {
  const path = '/apis/security.istio.io/v1/namespaces/default/peerauthentications';
  const body = { metadata: { name: 'told' }, spec: { mtls: { mode: 'STRICT' } } };
  const made = await api.request('POST', path, { body });
  assert.equal(made.status, 201);
  assert.match(String(made.headers.warning), /^299 - "PeerAuthentication is stored and not enforced yet/);
  const status = { ...made.json, status: { observedGeneration: 1 } };
  assert.equal(
    (await api.request('PUT', `${path}/told/status`, { body: status })).headers.warning,
    undefined,
  );
  const refused = await api.request('POST', path, {
    body: { metadata: { name: 'bad' }, spec: { mtls: { mode: 'ON' } } },
  });
  assert.equal(refused.status, 422);
  assert.equal(refused.headers.warning, undefined);
});

test('values of a wrong type are named', async () => {
  const body = { metadata: { name: 'typed' }, data: { a: 1 } };
  const { status, json } = await api.request('POST', configMaps, { body });
  assert.equal(status, 400);
  assert.match(json.message, /data\[a\]: expected string, got number 1/);
});

test('a dry run answers as if it had happened and leaves nothing', async () => {
  const made = await api.request('POST', `${configMaps}?dryRun=All`, { body: configMap('dry', { a: '1' }) });
  assert.equal(made.status, 201);
  assert.equal((await api.request('GET', `${configMaps}/dry`)).status, 404);
  await api.request('POST', configMaps, { body: configMap('dry', { a: '1' }) });
  const patched = await api.request('PATCH', `${configMaps}/dry?dryRun=All`, {
    type: MERGE,
    body: { data: { a: '2' } },
  });
  assert.equal(patched.json.data.a, '2');
  await api.request('DELETE', `${configMaps}/dry?dryRun=All`);
  assert.equal((await api.request('GET', `${configMaps}/dry`)).json.data.a, '1');
  assert.equal(
    (await api.request('POST', `${configMaps}?dryRun=some`, { body: configMap('dry') })).status,
    400,
  );
});

test('generateName draws names', async () => {
  const made = await Promise.all(
    Array.from({ length: 5 }, () =>
      api.request('POST', configMaps, { body: { metadata: { generateName: 'gen-' } } }),
    ),
  );
  const names = new Set(made.map(({ json }) => json.metadata.name));
  assert.equal(names.size, 5);
  for (const name of names) assert.match(name, /^gen-[a-z0-9]{5}$/);
});

test('bodies: YAML is read, broken ones are placed, large and deep ones refused', async () => {
  const yaml = await api.request('POST', configMaps, {
    type: 'application/yaml',
    body: 'metadata:\n  name: yaml\ndata:\n  a: "1"\n',
  });
  assert.equal(yaml.status, 201);
  const broken = await api.request('POST', configMaps, { body: '{"metadata":{"name":' });
  assert.equal(broken.status, 400);
  assert.match(broken.json.message, /json parse error: .*JSON/);
  const large = await api.request('POST', configMaps, { body: configMap('l', { a: 'x'.repeat(4 << 20) }) });
  assert.equal(large.status, 413);
  const deep = await api.request('POST', configMaps, { body: '{"a":'.repeat(5000) + '1' + '}'.repeat(5000) });
  assert.equal(deep.status, 400);
  assert.match(deep.json.message, /nested deeper/);
  assert.equal((await api.request('POST', configMaps, { type: 'text/plain', body: 'x' })).status, 415);
});

test('the namespace, name, kind and version of a body must be those of the path', async () => {
  const post = async (body: unknown, path = configMaps) =>
    (await api.request('POST', path, { body })).json.message;
  assert.match(
    await post({ metadata: { name: 'x', namespace: 'other' } }),
    /does not match the namespace sent/,
  );
  assert.match(await post({ apiVersion: 'v2', metadata: { name: 'x' } }), /API version in the data \(v2\)/);
  assert.match(await post({ kind: 'Secret', metadata: { name: 'x' } }), /kind in the data \(Secret\)/);
  assert.match(
    await post({ metadata: { name: 'x', resourceVersion: '3' } }),
    /resourceVersion should not be set/,
  );
  const put = await api.request('PUT', `${configMaps}/yaml`, { body: configMap('other') });
  assert.match(put.json.message, /does not match the name on the URL/);
});

test('nothing can be made in a namespace that is missing or ending', async () => {
  const missing = await api.request('POST', '/api/v1/namespaces/nowhere/configmaps', {
    body: configMap('x'),
  });
  assert.equal(missing.status, 404);
  assert.equal(missing.json.message, 'namespaces "nowhere" not found');
  await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name: 'ending' } } });
  const ending = await api.request('DELETE', '/api/v1/namespaces/ending');
  assert.equal(ending.json.status.phase, 'Terminating');
  const refused = await api.request('POST', '/api/v1/namespaces/ending/configmaps', { body: configMap('x') });
  assert.equal(refused.status, 403);
  assert.equal(refused.json.details.causes[0].reason, 'NamespaceTerminating');
  const { json } = await api.request('GET', '/api/v1/namespaces/ending');
  const done = await api.request('PUT', '/api/v1/namespaces/ending/finalize', {
    body: { ...json, spec: { finalizers: [] } },
  });
  assert.equal(done.status, 200);
  assert.equal((await api.request('GET', '/api/v1/namespaces/ending')).status, 404);
  assert.equal((await api.request('DELETE', '/api/v1/namespaces/default')).status, 403);
});

test('a method that a path does not know is a 405', async () => {
  assert.equal((await api.request('PUT', configMaps, { body: configMap('x') })).status, 405);
  assert.equal((await api.request('POST', `${configMaps}/x`, { body: configMap('x') })).status, 405);
  assert.equal((await api.request('DELETE', '/api/v1/configmaps')).status, 405);
  assert.equal((await api.request('GET', `${configMaps}/x/status`)).status, 404);
  assert.equal((await api.request('GET', '/api/v1/namespaces/default/nodes')).status, 404);
});
