import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { schemaViolations } from '../../../test/schema.ts';
import { run } from './test-run.ts';

const shop = join(import.meta.dirname, '../../../examples/shop');

/** Files of a folder of its own, by name. */
function folder(t: TestContext, files: Readonly<Record<string, string>>): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-test-policy-'));
  t.after(() => rmSync(path, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return path;
}

const pod = (name: string, more = ''): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: { namespace: a, name: ${name}, labels: { app: ${name} } }\nspec: { containers: [{ name: x, image: y }] }\n${more}`;

const policy = (name: string, spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { namespace: a, name: ${name} }\nspec: ${spec}\n`;

const two = `${pod('web')}---\n${pod('db')}`;
const dbFromWeb = policy(
  'db',
  '{ podSelector: { matchLabels: { app: db } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: web } } }], ports: [{ port: 5432 }] }] }',
);

for (const [verb, args, schema] of [
  ['connectivity', [], 'policy-connectivity'],
  ['connectivity', ['--ipv6', '--focus', 'shop/cart'], 'policy-connectivity'],
  ['connectivity', ['--exposure'], 'policy-exposure'],
  ['explain', ['--from', 'shop/web', '--to', 'payments/vault', '--port', '8200'], 'policy-explain'],
  ['explain', ['--from', 'shop/web', '--to', 'shop/cart', '--port', '8080'], 'policy-explain'],
  ['explain', ['--from', '192.0.2.1', '--to', 'shop/cart', '--protocol', 'icmp'], 'policy-explain'],
  ['lint', [], 'policy-lint'],
  ['blast-radius', ['shop/web'], 'policy-blast-radius'],
  ['blast-radius', ['platform/telemetry', '--declared', '--hops', '1'], 'policy-blast-radius'],
] as const)
  test(`heddle policy ${[verb, ...args].join(' ')} -o json follows ${schema}.json`, async () => {
    const { code, out, err } = await run([verb, ...args, '-f', shop, '-o', 'json']);
    assert.ok(code < 2, err);
    assert.deepEqual(schemaViolations(schema, JSON.parse(out)), []);
  });

test('diff, prove and test follow their schemas too', async (t) => {
  const dir = folder(t, {
    'old/all.yaml': two,
    'new/all.yaml': `${two}---\n${dbFromWeb}---\n${pod('more')}`,
    'assertions.yaml':
      '- a/web reaches a/db on 5432\n- outside never reaches a/db\n- nothing reaches a/web\n- b reaches a/db\n',
    'cases.yaml': 'cases: [{ from: a/web, to: a/db, port: 80, expect: allow, name: told }]',
  });
  for (const [schema, args, code] of [
    ['policy-diff', ['diff', join(dir, 'old'), join(dir, 'new')], 1],
    ['policy-diff', ['diff', join(dir, 'old'), join(dir, 'old')], 0],
    ['policy-prove', ['prove', '-f', join(dir, 'new'), join(dir, 'assertions.yaml')], 1],
    ['policy-test', ['test', '-f', join(dir, 'new'), join(dir, 'cases.yaml')], 1],
    ['policy-test', ['test', '-f', join(dir, 'old'), join(dir, 'cases.yaml')], 0],
  ] as const) {
    const result = await run([...args, '-o', 'json']);
    assert.equal(result.code, code, result.err);
    assert.deepEqual(schemaViolations(schema, JSON.parse(result.out)), []);
  }
});

test('connectivity is exactly the list that is documented', async () => {
  const { code, out } = await run(['connectivity', '-f', '-', '-o', 'json'], `${two}---\n${dbFromWeb}`);
  assert.equal(code, 0);
  const ref = (name: string) => ({ namespace: 'a', name, kind: 'Pod' });
  const everywhere = { from: '0.0.0.0', to: '255.255.255.255' };
  assert.deepEqual(JSON.parse(out), [
    { src: ref('db'), dst: ref('web'), allowed: 'all' },
    { src: ref('web'), dst: ref('db'), allowed: [{ protocol: 'TCP', ports: [[5432, 5432]] }] },
    { src: everywhere, dst: ref('web'), allowed: 'all' },
    { src: ref('db'), dst: everywhere, allowed: 'all' },
    { src: ref('web'), dst: everywhere, allowed: 'all' },
  ]);
});

for (const format of ['text', 'yaml', 'csv', 'md', 'dot', 'svg'])
  test(`connectivity and diff come as ${format}`, async (t) => {
    const dir = folder(t, { 'old.yaml': two, 'new.yaml': `${two}---\n${dbFromWeb}` });
    const connectivity = await run(['connectivity', '-f', join(dir, 'new.yaml'), '-o', format]);
    const diff = await run(['diff', join(dir, 'old.yaml'), join(dir, 'new.yaml'), '-o', format]);
    assert.deepEqual([connectivity.code, diff.code], [0, 1]);
    for (const { out } of [connectivity, diff]) assert.match(out, /5432/);
  });

test('an empty answer is empty in every format', async () => {
  const { code, out } = await run(
    ['connectivity', '-f', '-', '-o', 'json'],
    'apiVersion: v1\nkind: Secret\nmetadata: { name: x }\n',
  );
  assert.deepEqual([code, out], [0, '[]\n']);
});

for (const [what, input, words] of [
  ['broken YAML', 'kind: [', /^error: <stdin>:1:8: broken YAML/],
  [
    'a misspelt field',
    policy('p', '\n  podSelecter: {}'),
    /<stdin>:5: NetworkPolicy a\/p: spec\.podSelecter is no field/,
  ],
  [
    'a field of another type',
    policy('p', '\n  podSelector: all'),
    /<stdin>:5: NetworkPolicy a\/p: spec\.podSelector expected an object/,
  ],
  [
    'a range that is none',
    policy(
      'p',
      '\n  podSelector: {}\n  ingress:\n    - from:\n        - ipBlock:\n            cidr: 10.0.0.0',
    ),
    /<stdin>:9: .*"10\.0\.0\.0" is not an address range/,
  ],
  [
    'a label that is a number',
    pod('x').replace('app: x', 'version: 1.0'),
    /<stdin>:3: Pod a\/x: metadata\.labels\[version\] expected a text, not 1; put the value in quotes/,
  ],
  [
    'a port that is none',
    pod('x').replace('image: y', 'image: y, ports: [{ containerPort: 70000 }]'),
    /containerPort expected a port from 1 to 65535/,
  ],
  [
    'a workload without a template',
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: d }\nspec: {}\n',
    /<stdin>:1?4?: ?.*spec\.template expected the template/,
  ],
  [
    'an object without a name',
    'apiVersion: v1\nkind: Pod\nmetadata: {}\nspec: {}\n',
    /metadata\.name is missing/,
  ],
] as const)
  test(`${what} is refused with file and line, and nothing is answered`, async () => {
    const { code, out, err } = await run(['connectivity', '-f', '-'], input);
    assert.deepEqual([code, out], [2, '']);
    assert.match(err, words);
    assert.match(err, /\[BadManifest\]/);
  });

test('what is no object, or of no interest, is counted on stderr; policies that are not read are a warning', async (t) => {
  const dir = folder(t, {
    'deep/er/pods.yaml': two,
    'values.yaml': 'replicas: 3\n',
    'notes.txt': 'no manifest',
    'kustomization.yaml':
      'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [x.yaml]\n',
    'odd.yaml': 'apiVersion: example.com/v1\nkind: Odd\nmetadata: text\n',
    'empty.yaml': '# nothing\n',
    'cyclic.yaml':
      'apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: { name: c, ownerReferences: [{ kind: ReplicaSet, name: c, controller: true }] }\nspec: { template: { spec: { containers: [] } } }\n',
    'other.json': '{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"}}',
    'cilium.yaml': 'apiVersion: cilium.io/v2\nkind: CiliumEgressGatewayPolicy\nmetadata: { name: c }\n',
  });
  const { code, err } = await run(['connectivity', '-f', dir]);
  assert.equal(code, 0);
  assert.match(err, /skipped 1 YAML document /);
  assert.match(err, /warning: these policies are not read.*cilium\.io\/CiliumEgressGatewayPolicy \(1\)/);
  assert.match(err, /note: skipped objects.*Odd \(1\)/);
});

for (const args of [
  ['connectivity', '--focus', 'a/nobody', '-f', '-'],
  ['connectivity', '-o', 'pdf', '-f', '-'],
  ['explain', '--from', 'a/web', '--to', 'a/db', '-f', '-'],
  ['explain', '--from', 'a/web', '--to', 'a/db', '--port', 'http', '-f', '-'],
  ['explain', '--from', 'a/web', '--to', 'a/db', '--port', '80', '--protocol', 'quic', '-f', '-'],
  ['diff', 'one'],
  ['lint', '--skip', 'nothing', '-f', '-'],
  ['connectivity', '-f', '/nonexistent/file.yaml'],
  ['connectivity', '--frobnicate'],
  ['nonsense'],
])
  test(`heddle policy ${args.join(' ')} is refused`, async () => {
    const { code, out, err } = await run(args, two);
    assert.deepEqual([code, out], [2, ''], err);
  });

test('questions that mean nothing are refused with file and line', async (t) => {
  for (const [verb, text, words] of [
    ['prove', '- web laughs at db\n', /q\.yaml:1: "web laughs at db" is no assertion/],
    ['prove', '- from: a\n  to: a\n  onyl: []\n', /q\.yaml:3: unknown field "onyl"/],
    ['prove', '- a reaches a on 70000\n', /q\.yaml:1: "70000" is no port/],
    ['test', '- { from: a/web, to: a/db, port: 80, expect: maybe }\n', /q\.yaml:1: expect: "maybe"/],
    ['test', '- { from: a/web, to: a/x, port: 80, expect: deny }\n', /q\.yaml:1: to "a\/x": no workload/],
    [
      'test',
      "- { from: a/web, to: a/db, port: 80, http: 'GET', expect: deny }\n",
      /q\.yaml:1: http "GET": expected a method and a path/,
    ],
  ] as const) {
    const dir = folder(t, { 'q.yaml': text });
    const { code, err } = await run([verb, '-f', '-', join(dir, 'q.yaml')], two);
    assert.equal(code, 2);
    assert.match(err, words);
  }
});

test('who the API server is, a group and a Service need not be in the files: they are nobody, with a warning', async (t) => {
  const allowing = (rule: string) =>
    `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { namespace: a, name: web }\nspec:\n  endpointSelector: { matchLabels: { app: web } }\n  egress:\n  - ${rule}\n  - toEndpoints: [{ matchLabels: { app: db } }]\n`;
  const ofCalico =
    'apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: { namespace: a, name: web }\nspec:\n  selector: app == "web"\n  egress:\n  - { action: Allow, destination: { services: { name: gone } } }\n  - { action: Allow, destination: { selector: app == "db" } }\n';
  for (const [written, warning] of [
    [
      allowing('toEntities: [kube-apiserver]'),
      /^warning: .*all.yaml:\d+: CiliumNetworkPolicy a\/web: spec.egress\[0\].toEntities\[0\] no EndpointSlice of the Service default\/kubernetes/,
    ],
    [allowing('toCIDRSet: [{ cidrGroupRef: gone }]'), /^warning: .* there is no CiliumCIDRGroup "gone"/],
    [ofCalico, /^warning: .* there is no Service a\/gone/],
  ] as const) {
    const at = folder(t, { 'all.yaml': `${two}---\n${written}` });
    const explain = ['explain', '-f', at, '--port', '80', '--from', 'a/web', '--to'];
    const allowed = await run([...explain, 'a/db']);
    assert.equal(allowed.code, 0, allowed.err);
    assert.match(allowed.err, warning);
    assert.equal((await run([...explain, '192.0.2.1'])).code, 1);
  }
});

test('test writes JUnit', async (t) => {
  const dir = folder(t, { 'q.yaml': '- { from: a/web, to: a/db, port: 80, expect: deny, name: "<&>" }\n' });
  const { code, out } = await run(['test', '-f', '-', join(dir, 'q.yaml'), '-o', 'junit'], two);
  assert.equal(code, 1);
  assert.match(out, /<testsuites tests="1" failures="1">/);
  assert.match(
    out,
    /<testcase name="&lt;&amp;&gt;".* line="1">\n +<failure message="expected deny, got allow">/,
  );
});

test('every denied flow of the example is explained by object, path, file and line, and its smallest change is exact', async () => {
  const ask = async (args: readonly string[]) =>
    JSON.parse((await run([...args, '-f', shop, '-o', 'json'])).out);
  const list = (await ask(['connectivity', '--exposure'])) as {
    workloads: { workload: { namespace: string; name: string } }[];
  };
  const names = [
    ...new Set(list.workloads.map(({ workload: { namespace, name } }) => `${namespace}/${name}`)),
  ];
  let denied = 0;
  for (const from of names)
    for (const to of names) {
      if (from === to) continue;
      const told = await ask(['explain', '--from', from, '--to', to, '--port', '8080']);
      if (told.verdict === 'allow') continue;
      denied++;
      for (const side of [told.egress, told.ingress].filter(({ verdict }) => verdict === 'deny')) {
        assert.ok(side.isolatedBy.length > 0);
        for (const { file, line } of side.isolatedBy) assert.ok(file.endsWith('.yaml') && line > 1);
      }
      assert.equal(told.change?.exact, true, `${from} ${to}`);
    }
  assert.ok(denied > 80, `only ${denied}`);
});

test('generated policies allow what is declared and nothing else', async (t) => {
  const dir = folder(t, {
    'calls.yaml':
      'calls:\n  - { from: a/web, to: a/db, ports: [5432, 53/udp] }\n  - { from: 192.0.2.0/24, to: a/web, ports: [80] }\n',
    'pods.yaml': two,
  });
  const made = await run([
    'generate',
    '-f',
    join(dir, 'pods.yaml'),
    '--calls',
    join(dir, 'calls.yaml'),
    '--no-dns',
  ]);
  assert.equal(made.code, 0, made.err);
  const { out } = await run(['connectivity', '-f', '-', '-o', 'csv'], `${two}---\n${made.out}`);
  assert.deepEqual(out.split('\r\n').slice(1, -1), [
    'a/web (Pod),a/db (Pod),"TCP 5432; UDP 53"'.replaceAll('"', ''),
    '192.0.2.0-192.0.2.255,a/web (Pod),TCP 80',
  ]);
});

const deny = `apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: { name: no-telnet }
spec:
  priority: 10
  subject: { namespaces: {} }
  ingress:
    - name: telnet
      action: Deny
      from: [{ namespaces: {} }]
      ports: [{ portNumber: { port: 23, protocol: TCP } }]
`;

test('policies of the cluster have their say, with file and line, and what they deny only one before them allows', async (t) => {
  const dir = folder(t, { 'all.yaml': `${two}---\n${deny}` });
  const { out } = await run(['connectivity', '-f', dir, '-o', 'csv']);
  assert.match(out, /^a\/web \(Pod\),a\/db \(Pod\),"TCP 1-22,24-65535; UDP; SCTP"$/m);
  const args = ['explain', '-f', dir, '--from', 'a/web', '--to', 'a/db', '--port', '23', '-o', 'json'];
  const told = await run(args);
  assert.equal(told.code, 1);
  const explained = JSON.parse(told.out);
  assert.deepEqual(schemaViolations('policy-explain', explained), []);
  const { rule } = explained.ingress;
  assert.deepEqual([rule.kind, rule.path, rule.line], ['AdminNetworkPolicy', 'spec.ingress[0]', 18]);
  const [edit] = explained.change.edits;
  assert.deepEqual(
    [edit.kind, edit.value.spec.priority, explained.change.exact],
    ['AdminNetworkPolicy', 9, true],
  );
  const twice = await run(['connectivity', '-f', '-'], deny.replace('subject', 'subjekt'));
  assert.deepEqual([twice.code, twice.out], [2, '']);
  assert.match(
    twice.err,
    /<stdin>:6: AdminNetworkPolicy no-telnet: spec\.subjekt is no field of an AdminNetworkPolicy/,
  );
});

const ingress = (port: string): string =>
  `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { namespace: a, name: front }
spec:
  rules:
    - http:
        paths:
          - path: /
            backend: { service: { name: web, port: { number: ${port} } } }
`;
const webService =
  'apiVersion: v1\nkind: Service\nmetadata: { namespace: a, name: web }\nspec: { selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }\n';

test('exposure names the object, with file and line, that opens a workload, and who sends what comes in', async (t) => {
  const at = folder(t, { 'all.yaml': [two, webService, ingress('80')].join('---\n') });
  const args = ['connectivity', '--exposure', '-f', at, '--proxy', 'a/db'];
  const { code, out, err } = await run([...args, '-o', 'json']);
  assert.equal(code, 0, err);
  const told = JSON.parse(out) as { openings: { by: { line: number; file: string }; from: string }[] };
  assert.deepEqual(schemaViolations('policy-exposure', told), []);
  assert.equal(told.openings.length, 1);
  assert.equal(told.openings[0]?.from, 'a/db (Pod)');
  assert.match(told.openings[0]?.by.file ?? '', /all\.yaml$/);
  const text = (await run(args)).out;
  assert.match(text, /a\/web \(Pod\) +8080\/TCP +open +Ingress a\/front .*all\.yaml:\d+\) +a\/db \(Pod\)/);
});

test('a mistyped Ingress is refused with its line, and a backend that is not there is told', async (t) => {
  const mistyped = folder(t, { 'ingress.yaml': ingress('http') });
  const { code, err } = await run(['connectivity', '--exposure', '-f', mistyped]);
  assert.equal(code, 2);
  assert.match(err, /ingress\.yaml:9: .*port\.number expected a port/);
  const nowhere = folder(t, { 'ingress.yaml': ingress('80') });
  const { out } = await run(['connectivity', '--exposure', '-f', nowhere]);
  assert.match(
    out,
    /OPENS NOTHING.*\nIngress a\/front .*ingress\.yaml:8\) +there is no Service a\/web in what was read/,
  );
});

test('policies are rendered in another language; what is lost is told with its line', async (t) => {
  const at = folder(t, { 'pods.yaml': two, 'db.yaml': dbFromWeb });
  const calico = await run(['render', '--to', 'calico', '-f', at]);
  assert.deepEqual([calico.code, calico.err], [0, '']);
  const back = folder(t, { 'pods.yaml': two, 'db.yaml': calico.out });
  assert.equal((await run(['diff', at, back])).code, 0, 'the files read back decide the same');
  const cluster = await run(['render', '--to', 'cluster', '-f', at]);
  assert.equal(cluster.code, 1);
  assert.match(
    cluster.err,
    /db\.yaml:\d+: lost: NetworkPolicy a\/db spec\.ingress: who is no pod cannot be named as a source/,
  );
});

const addressed = (name: string, address: string): string =>
  pod(name, `status: { podIPs: [{ ip: ${address} }] }\n`);

test('policies are generated from flows that were seen, of a page, of a list or of lines', async (t) => {
  const at = folder(t, {
    'pods.yaml': `${addressed('web', '10.244.0.1')}---\n${addressed('db', '10.244.0.2')}`,
  });
  const flow = (verdict: string, dport: number) => ({
    seq: 1,
    src: '10.244.0.1',
    dst: '10.244.0.2',
    protocol: 'TCP',
    dport,
    verdict,
  });
  const events = [flow('allow', 5432), flow('deny', 22)];
  for (const text of [
    JSON.stringify({ events, next: 2, lost: 0 }),
    JSON.stringify(events),
    events.map((each) => JSON.stringify(each)).join('\n'),
  ]) {
    const args = ['generate', '-f', at, '--flows', '-', '--stage', 'audit', '-o', 'json'];
    const { code, out, err } = await run(args, text);
    assert.deepEqual([code, err], [0, ''], text);
    const { items } = JSON.parse(out) as {
      items: { metadata: { name: string; labels: object }; spec: { ingress: unknown } }[];
    };
    assert.deepEqual(
      items.map(({ metadata, spec }) => [metadata.name, metadata.labels, JSON.stringify(spec.ingress)]),
      [
        [
          'db',
          { 'heddle.dev/stage': 'audit' },
          '[{"from":[{"podSelector":{"matchLabels":{"app":"web"}}}],"ports":[{"protocol":"TCP","port":5432}]}]',
        ],
        ['web', { 'heddle.dev/stage': 'audit' }, '[]'],
      ],
    );
  }
  const broken = await run(['generate', '-f', at, '--flows', '-'], '{"src": 1}');
  assert.equal(broken.code, 2);
  assert.match(broken.err, /expected an event with src, dst, protocol, dport and verdict/);
  const lost = await run(['generate', '-f', at, '--flows', '-'], '{"events": [], "lost": 3}');
  assert.match(lost.err, /warning: 3 records were lost.*\n.*no flow was seen/);
});
