import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { kubectl } from '../../test/kubectl.ts';
import { parseManifests } from '../api/manifest/parse.ts';
import { type Harness, startHarness } from '../apiserver/testing/harness.ts';
import { createClient } from '../client/client.ts';
import { loadKubeconfig } from '../client/kubeconfig.ts';
import { applyObjects } from './apply-objects.ts';
import { lastAppliedText } from './apply-plan.ts';
import type { CliDeps } from './deps.ts';
import { main } from './main.ts';

let server: Harness;
before(async () => {
  server = await startHarness();
});
after(() => server.close());

const sink = () => {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  return { stream, text: () => text };
};

/** Runs the command line in this process. */
async function heddle(args: string[], input = '', dataDir = server.dir) {
  const [out, err] = [sink(), sink()];
  const deps: CliDeps = {
    stdin: Readable.from([input]),
    stdout: out.stream,
    stderr: err.stream,
    color: false,
    interactive: false,
    invoker: undefined,
    childEnv: {},
    isRoot: false,
  };
  const code = await main([...args, '--data-dir', dataDir], deps);
  return { code, out: out.text(), err: err.text() };
}

const namespace = (name: string) => `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n---\n`;
const config = (name: string, ns: string, data: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: ${ns}}\ndata: ${data}\n---\n`;
const deployment = (ns: string, { replicas = 2, image = 'nginx:1', env = '[]' } = {}) =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: ${ns}}\nspec:\n  replicas: ${replicas}\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: c, image: "${image}", env: ${env}}]}\n---\n`;

const read = async (path: string) => (await server.request('GET', path)).json;

test('apply makes, then changes, then leaves alone; namespaces go first', async () => {
  const manifest = (options = {}) => deployment('first', options) + namespace('first');
  const made = await heddle(['apply', '-f', '-'], manifest());
  assert.equal(made.code, 0, made.err);
  assert.equal(made.out, 'namespace/first created\ndeployment.apps/web created\n');
  const again = await heddle(['apply', '-f', '-'], manifest());
  assert.equal(again.out, 'namespace/first unchanged\ndeployment.apps/web unchanged\n');
  const changed = await heddle(['apply', '-f', '-'], manifest({ replicas: 3 }));
  assert.equal(changed.out, 'namespace/first unchanged\ndeployment.apps/web configured\n');
  assert.equal((await read('/apis/apps/v1/namespaces/first/deployments/web')).spec.replicas, 3);
});

test('apply removes what the manifest no longer says, and keeps what others set', async () => {
  const path = '/apis/apps/v1/namespaces/second/deployments/web';
  const env = '[{name: A, value: a}, {name: B, value: b}]';
  await heddle(['apply', '-f', '-'], namespace('second') + deployment('second', { env }));
  await server.request('PATCH', path, {
    type: 'application/merge-patch+json',
    body: { metadata: { labels: { theirs: 'yes' } }, spec: { minReadySeconds: 7 } },
  });
  await heddle(['apply', '-f', '-'], deployment('second', { env: '[{name: B, value: c}]' }));
  const now = await read(path);
  assert.deepEqual(now.spec.template.spec.containers[0].env, [{ name: 'B', value: 'c' }]);
  assert.equal(now.metadata.labels.theirs, 'yes');
  assert.equal(now.spec.minReadySeconds, 7);
});

test('nothing is sent when one object of many is wrong', async () => {
  const wrong = `${namespace('third')}${deployment('third').replace('app: web', 'app: other')}`;
  const result = await heddle(['apply', '-f', '-'], wrong);
  assert.equal(result.code, 2);
  assert.match(
    result.err,
    /<stdin>:\d+: Deployment third\/web: spec\.template\.metadata\.labels.*does not match/,
  );
  assert.equal((await server.request('GET', '/api/v1/namespaces/third')).status, 404);
});

test('a change that the live object forbids is found before anything is sent', async () => {
  await heddle(['apply', '-f', '-'], namespace('fourth') + deployment('fourth'));
  const moved = deployment('fourth').replaceAll('app: web', 'app: moved');
  const result = await heddle(['apply', '-f', '-'], config('new', 'fourth', '{a: b}') + moved);
  assert.equal(result.code, 2);
  assert.match(result.err, /spec\.selector: .*field is immutable/);
  assert.equal((await server.request('GET', '/api/v1/namespaces/fourth/configmaps/new')).status, 404);
});

test('a namespace that is not there is named with file and line', async () => {
  const result = await heddle(['apply', '-f', '-'], config('a', 'nowhere', '{}'));
  assert.equal(result.code, 2);
  assert.match(result.err, /<stdin>:3: ConfigMap nowhere\/a: there is no namespace "nowhere"/);
  assert.match(result.err, /hint: add a Namespace "nowhere"/);
});

test('kinds that are not served are warned about and passed over', async () => {
  const ingress = 'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec: {}\n---\n';
  const result = await heddle(['apply', '-f', '-'], ingress + config('beside', 'default', '{a: b}'));
  assert.equal(result.code, 0);
  assert.equal(result.out, 'configmap/beside created\n');
  assert.match(result.err, /warning: <stdin>:1: Ingress i: skipped: this version of Heddle does not act on/);
});

test('a dry run changes nothing, here or there', async () => {
  for (const where of ['client', 'server']) {
    const result = await heddle(
      ['apply', '-f', '-', `--dry-run=${where}`],
      config('dry', 'default', '{a: b}'),
    );
    assert.equal(result.code, 0, result.err);
    assert.match(
      result.out,
      where === 'client' ? /^configmap\/dry created \(dry run\)$/m : /created \(server dry run\)/,
    );
    assert.equal((await server.request('GET', '/api/v1/namespaces/default/configmaps/dry')).status, 404);
  }
  assert.equal(
    (await heddle(['apply', '-f', '-', '--dry-run=maybe'], config('dry', 'default', '{}'))).code,
    2,
  );
});

test('the note of what was applied is written as kubectl writes it', () => {
  const text = lastAppliedText({
    kind: 'ConfigMap',
    apiVersion: 'v1',
    data: { x: 'a < b & c\u2028' },
    metadata: { namespace: 'n', name: 'c' },
  });
  const expected =
    '{"apiVersion":"v1","data":{"x":"a \\u003c b \\u0026 c\\u2028"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"c","namespace":"n"}}\n';
  assert.equal(text, expected);
});

test('get shows tables as kubectl does', async () => {
  await heddle(
    ['apply', '-f', '-'],
    namespace('shown') + deployment('shown') + config('c', 'shown', '{a: b}'),
  );
  const lines = async (...args: string[]) => (await heddle(['get', ...args])).out.split('\n');
  assert.deepEqual(
    (await lines('cm', '-n', 'shown')).map((l) => l.replace(/\d+s$/, 'AGE')),
    ['NAME   DATA   AGE', 'c      1      AGE', ''],
  );
  const [wide] = await lines('deploy', '-n', 'shown', '-o', 'wide');
  assert.match(wide ?? '', /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE +CONTAINERS +IMAGES +SELECTOR$/);
  const several = await lines('cm/c', 'deploy/web', '-n', 'shown');
  assert.match(several[1] ?? '', /^configmap\/c /);
  assert.equal(several[2], '');
  assert.match(several[4] ?? '', /^deployment\.apps\/web /);
  const [everywhere] = await lines('cm', '-A');
  assert.match(everywhere ?? '', /^NAMESPACE +NAME +DATA +AGE$/);
  assert.deepEqual(await lines('cm', '-n', 'shown', '-o', 'name'), ['configmap/c', '']);
  assert.deepEqual((await lines('cm', '-n', 'shown', '--no-headers'))[1], '');
});

test('get writes JSON and YAML: one object alone, several as a List', async () => {
  await heddle(['apply', '-f', '-'], namespace('written') + config('c', 'written', '{a: "yes"}'));
  const one = JSON.parse((await heddle(['get', 'cm', 'c', '-n', 'written', '-o', 'json'])).out);
  assert.equal(one.kind, 'ConfigMap');
  assert.equal(one.metadata.managedFields, undefined);
  const all = JSON.parse((await heddle(['get', 'cm', '-n', 'written', '-o', 'json'])).out);
  assert.equal(all.kind, 'List');
  assert.equal(all.items[0].apiVersion, 'v1');
  const yaml = (await heddle(['get', 'cm/c', '-n', 'written', '-o', 'yaml'])).out;
  assert.match(yaml, /^ {2}a: "yes"$/m);
  const back = await heddle(['apply', '-f', '-'], yaml);
  assert.equal(back.code, 0, back.err);
});

test('get selects, and says when there is nothing', async () => {
  await heddle(
    ['apply', '-f', '-'],
    namespace('chosen') + config('a', 'chosen', '{}') + config('b', 'chosen', '{}'),
  );
  const chosen = await heddle([
    'get',
    'cm',
    '-n',
    'chosen',
    '--field-selector',
    'metadata.name!=a',
    '-o',
    'name',
  ]);
  assert.equal(chosen.out, 'configmap/b\n');
  const nothing = await heddle(['get', 'cm', '-n', 'chosen', '-l', 'x=y']);
  assert.deepEqual(
    [nothing.code, nothing.out, nothing.err],
    [0, '', 'No resources found in chosen namespace.\n'],
  );
  const missing = await heddle(['get', 'cm', 'a', 'zz', '-n', 'chosen']);
  assert.equal(missing.code, 1);
  assert.match(missing.out, /^a /m);
  assert.match(missing.err, /configmaps "zz" not found/);
  assert.equal((await heddle(['get', 'cm', 'zz', '-n', 'chosen', '--ignore-not-found'])).code, 0);
});

test('words that name no kind are refused with a guess', async () => {
  const result = await heddle(['get', 'depolyments']);
  assert.equal(result.code, 2);
  assert.match(result.err, /there is no kind "depolyments".*\n +hint: did you mean "deployments"\?/);
  assert.equal((await heddle(['get', 'pods,svc', 'x'])).code, 2);
  assert.equal((await heddle(['get', 'pod/a', 'b'])).code, 2);
});

test('a short name of two kinds is the first that discovery lists, as kubectl has it, and the other is named', async () => {
  const { out, err } = await heddle(['get', 'cnp']);
  assert.equal(
    err,
    'note: cnp is ciliumnetworkpolicies.cilium.io here; for the other write clusternetworkpolicies.policy.networking.k8s.io\nNo resources found in default namespace.\n',
  );
  assert.equal(out, '');
  const kubectlSays = await kubectl(['get', 'cnp', '-A'], {
    kubeconfig: server.kubeconfig,
    home: server.dir,
  });
  assert.match(kubectlSays.stderr, /could also match lower priority resource clusternetworkpolicies\.policy/);
});

test('delete takes objects by name, by selector and by manifest, and waits', async () => {
  const all = namespace('gone') + config('a', 'gone', '{}') + config('b', 'gone', '{}') + deployment('gone');
  await heddle(['apply', '-f', '-'], all);
  const one = await heddle(['delete', 'cm', 'a', '-n', 'gone']);
  assert.equal(one.out, 'configmap "a" deleted from gone namespace\n');
  const missing = await heddle(['delete', 'cm', 'a', '-n', 'gone']);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /configmaps "a" not found/);
  assert.equal((await heddle(['delete', 'cm', 'a', '-n', 'gone', '--ignore-not-found'])).code, 0);
  assert.equal((await heddle(['delete', 'cm', '-n', 'gone'])).code, 2);
  assert.match((await heddle(['delete', 'cm', '--all', '-n', 'gone'])).out, /configmap "b" deleted/);
  assert.equal(
    (await heddle(['delete', 'deploy/web', '-n', 'gone', '--dry-run'])).out,
    'deployment.apps "web" deleted from gone namespace (dry run)\n',
  );
  const rest = await heddle(['delete', '-f', '-'], deployment('gone'));
  assert.equal(rest.out, 'deployment.apps "web" deleted from gone namespace\n');
  assert.equal((await server.request('GET', '/apis/apps/v1/namespaces/gone/deployments/web')).status, 404);
});

test('what is held by a finalizer is named when the wait ends', async () => {
  const held = config('held', 'default', '{}').replace(
    'namespace: default',
    'namespace: default, finalizers: [example.com/hold]',
  );
  await heddle(['apply', '-f', '-'], held);
  const result = await heddle(['delete', 'cm', 'held', '--timeout', '0s']);
  assert.equal(result.code, 1);
  assert.match(result.err, /still there after 0 s: configmap "held" \(held by example\.com\/hold\)/);
});

test('folders are read, and where no cluster is, that is said', async () => {
  const folder = join(server.dir, 'manifests');
  mkdirSync(folder);
  writeFileSync(join(folder, 'a.yaml'), config('from-folder', 'default', '{}'));
  assert.equal((await heddle(['apply', '-f', folder])).out, 'configmap/from-folder created\n');
  const none = await heddle(['get', 'pods'], '', join(server.dir, 'nothing'));
  assert.equal(none.code, 1);
  assert.match(none.err, /there is no cluster in .*nothing.*\[NoCluster\]/s);
});

test('a service may change its type by its manifest', async () => {
  const service = (type: string) =>
    `apiVersion: v1\nkind: Service\nmetadata: {name: turning}\nspec: {type: ${type}, ports: [{port: 80}]}\n`;
  await heddle(['apply', '-f', '-'], service('LoadBalancer'));
  const turned = await heddle(['apply', '-f', '-'], service('ClusterIP'));
  assert.equal(turned.out, 'service/turning configured\n', turned.err);
  const { spec } = await read('/api/v1/namespaces/default/services/turning');
  assert.equal(spec.type, 'ClusterIP');
  assert.equal(spec.ports[0].nodePort, undefined);
});

test('kubectl and heddle apply one after the other find nothing to do', async () => {
  const manifest = `${namespace('mixed')}${deployment('mixed')}apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: mixed, annotations: {note: "<a>"}}\nspec: {selector: {app: web}, ports: [{port: 53, name: a}, {port: 53, name: b, protocol: UDP}]}\n`;
  const byKubectl = async (text: string) => {
    const result = await kubectl(['apply', '-f', '-'], {
      kubeconfig: server.kubeconfig,
      home: server.dir,
      input: text,
    });
    assert.equal(result.code, 0, result.stderr);
    return result.stdout;
  };
  assert.doesNotMatch(await byKubectl(manifest), /configured|unchanged/);
  assert.doesNotMatch((await heddle(['apply', '-f', '-'], manifest)).out, /created|configured/);
  const changed = manifest.replace('name: b,', 'name: c,');
  assert.match((await heddle(['apply', '-f', '-'], changed)).out, /service\/web configured/);
  assert.doesNotMatch(await byKubectl(changed), /created|configured/);
  const { spec } = await read('/api/v1/namespaces/mixed/services/web');
  assert.deepEqual(
    spec.ports.map((p: { name: string; protocol: string }) => `${p.name}/${p.protocol}`),
    ['a/TCP', 'c/UDP'],
  );
});

test('namespaces that no manifest makes can be made on the way', async () => {
  const client = createClient((await loadKubeconfig(server.kubeconfig)).client);
  try {
    const { objects } = parseManifests({ file: 'm.yaml', text: config('a', 'made-on-the-way', '{}') });
    const applied = await applyObjects(client, objects, { createNamespaces: true });
    assert.deepEqual(
      applied.map((a) => `${a.name} ${a.outcome}`),
      ['namespace/made-on-the-way created', 'configmap/a created'],
    );
  } finally {
    client.close();
  }
});
