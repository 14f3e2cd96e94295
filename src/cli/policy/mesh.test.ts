/** `heddle policy` with policies of the mesh: requests asked about, words, places, JSON and what is refused. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { schemaViolations } from '../../../test/schema.ts';
import { HeddleError } from '../../lib/errors.ts';
import { requestOf } from './request.ts';
import { run } from './test-run.ts';

const pod = (name: string): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: { namespace: a, name: ${name}, labels: { app: ${name} } }\nspec: { containers: [{ name: x, image: y }] }\n`;

const world = [
  pod('web'),
  pod('db'),
  `apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { namespace: a, name: db }
spec:
  selector: { matchLabels: { app: db } }
  rules:
    - to: [{ operation: { ports: ["80"], methods: [GET] } }]
    - to: [{ operation: { ports: ["80"] } }]
      when: [{ key: "request.auth.claims[group]", values: [admin] }]
`,
].join('---\n');

function file(t: TestContext, name: string, content: string): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-test-mesh-'));
  t.after(() => rmSync(path, { recursive: true }));
  writeFileSync(join(path, name), content);
  return join(path, name);
}

const explain = (...args: string[]) =>
  run(['explain', '--from', 'a/web', '--to', 'a/db', '--port', '80', '-f', '-', ...args], world);

test('a request is asked about, and answered with the rule and its place', async () => {
  const told = await explain('--http', 'GET /x');
  assert.equal(told.code, 0, told.err);
  assert.match(told.out, /allow: a\/web → a\/db TCP 80 GET \/x/);
  assert.match(told.out, /mesh at a\/db: allowed by AuthorizationPolicy a\/db spec.rules\[0\]/);
  assert.match(told.out, / <stdin>:\d+: AuthorizationPolicy a\/db spec.rules\[0\]/);
  const denied = await explain('--http', 'PUT /x');
  assert.equal(denied.code, 1);
  assert.match(
    denied.out,
    /denied by default: AuthorizationPolicy a\/db selects it, and no rule allows this/,
  );
  assert.match(
    denied.out,
    /near: AuthorizationPolicy a\/db spec.rules\[0\] matches but for the method: it has GET/,
  );
  assert.match(denied.out, /spec.rules\[1\] matches but for the claim group: it has admin/);
  assert.equal((await explain('--http', 'PUT /x', '--claim', 'group=["users","admin"]')).code, 0);
});

test('a connection passes if some request on it may', async () => {
  const told = await explain();
  assert.equal(told.code, 0);
  assert.match(
    told.out,
    /allowed by AuthorizationPolicy a\/db spec.rules\[0\]; some of its requests may yet be denied/,
  );
});

test('-o json follows policy-explain.json, with the mesh and without', async () => {
  for (const args of [['--http', 'PUT /x'], ['--http', 'GET /x'], []]) {
    const { out } = await explain(...args, '-o', 'json');
    assert.deepEqual(schemaViolations('policy-explain', JSON.parse(out)), []);
  }
  const { out } = await explain('--http', 'PUT /x', '-o', 'json');
  const { mesh } = JSON.parse(out);
  assert.deepEqual(
    [mesh.verdict, mesh.reason, mesh.tls, mesh.closedBy[0].path, mesh.nearMisses[0].missed],
    ['deny', 'default-deny', 'PERMISSIVE', 'spec.selector', 'method'],
  );
});

test('connectivity is narrowed where every request is denied', async () => {
  const { out } = await run(['connectivity', '-f', '-', '-o', 'json'], world);
  const pairs = (
    JSON.parse(out) as { src: { name?: string }; dst: { name?: string }; allowed: unknown }[]
  ).filter(({ src, dst }) => src.name === 'web' && dst.name === 'db');
  assert.deepEqual(
    pairs.map(({ allowed }) => allowed),
    [
      [
        { protocol: 'TCP', ports: [[80, 80]] },
        { protocol: 'UDP', ports: [[1, 65535]] },
        { protocol: 'SCTP', ports: [[1, 65535]] },
      ],
    ],
  );
});

test('cases ask about requests too', async (t) => {
  const estate = file(t, 'world.yaml', world);
  const cases = file(
    t,
    'cases.yaml',
    `- { from: a/web, to: a/db, port: 80, http: GET /x, expect: allow }
- { from: a/web, to: a/db, port: 80, http: PUT /x, expect: deny }
- { from: a/web, to: a/db, port: 80, http: { request: PUT /x, claims: { group: [admin] } }, expect: allow }
- { from: a/web, to: a/db, port: 81, expect: deny }
`,
  );
  const { code, out, err } = await run(['test', '-f', estate, cases]);
  assert.equal(code, 0, out + err);
  assert.match(out, /✓ a\/web → a\/db TCP 80 GET \/x: allow/);
});

test('lint tells of what cannot be read and of what selects nothing', async () => {
  const more = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { namespace: a, name: other }
spec: { selector: { matchLabels: { app: nobody } }, rules: [{ when: [{ key: x, values: [z] }] }] }
`;
  const { code, out } = await run(['lint', '-f', '-'], world + more);
  assert.equal(code, 1);
  assert.match(
    out,
    /unreadable: AuthorizationPolicy a\/other spec.rules\[0\].when\[0\].key "x" is none of source.ip/,
  );
  assert.match(
    out,
    /selects-nothing: AuthorizationPolicy a\/other spec.selector selects no pod: it is for pods app=nobody in a/,
  );
});

test('the rules of a workload are written as filters of Envoy; what is lost is told', async () => {
  const tls = `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { namespace: a, name: strict }
spec: { mtls: { mode: STRICT } }
`;
  const { code, out, err } = await run(['render', '--to', 'envoy', '-f', '-', '-o', 'json'], world + tls);
  assert.equal(code, 1);
  assert.match(err, /lost: PeerAuthentication a\/strict: mutual TLS is of a listener's filter chains/);
  assert.deepEqual(schemaViolations('policy-render-envoy', JSON.parse(out)), []);
  const { workloads } = JSON.parse(out);
  assert.deepEqual(
    workloads.map(
      ({ workload, http, tcp }: Record<string, { name?: string; allow?: { policies: object } }>) => [
        workload?.name,
        Object.keys(http?.allow?.policies ?? {}),
        Object.keys(tcp?.allow?.policies ?? {}),
      ],
    ),
    [['db', ['AuthorizationPolicy a/db spec.rules[0]', 'AuthorizationPolicy a/db spec.rules[1]'], []]],
  );
  const none = await run(['render', '--to', 'envoy', '-f', '-'], pod('web'));
  assert.deepEqual([none.code, none.out], [0, 'workloads: []\n']);
});

test('what is no request is refused', () => {
  const refused = (
    words: Parameters<typeof requestOf>[0],
    expected: RegExp,
    protocol: 'TCP' | 'UDP' = 'TCP',
  ) =>
    assert.throws(
      () => requestOf(words, protocol),
      (error) => error instanceof HeddleError && error.code === 'BadFlag' && expected.test(error.message),
    );
  refused({ http: 'GET' }, /expected a method and a path/);
  refused({ http: 'get /x' }, /expected a method and a path/);
  refused({ http: 'GET x' }, /expected a method and a path/);
  refused({ http: 'GET /x', headers: ['x'] }, /expected a name and a value/);
  refused({ http: 'GET /x', claims: ['x'] }, /expected name=value/);
  refused({ http: 'GET /x', claims: ['x=[1'] }, /written as JSON/);
  refused({ headers: ['a: b'] }, /--http or --grpc is missing/);
  refused({ http: 'GET /x' }, /requests go over TCP/, 'UDP');
  assert.deepEqual(
    requestOf({ http: 'GET http://a.example:8080/x?y', headers: ['X-A: 1', 'x-a: 2'] }, 'TCP'),
    {
      type: 'http',
      method: 'GET',
      path: '/x?y',
      host: 'a.example:8080',
      headers: { 'x-a': '1,2' },
    },
  );
  const hosted = requestOf({ http: 'GET /x', headers: ['Host: b'] }, 'TCP');
  assert.ok(hosted?.type === 'http' && hosted.host === 'b');
  assert.equal(requestOf({}, 'TCP'), undefined);
});
