/** `heddle policy` names the places of what it speaks of and of nothing else, and tells "no" from "no answer". */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { schemaViolations } from '../../../test/schema.ts';
import { run } from './test-run.ts';

const pod = (name: string): string => `apiVersion: v1
kind: Pod
metadata: { namespace: a, name: ${name}, labels: { app: ${name} } }
spec: { containers: [{ name: x, image: y }] }
`;

const worldOf = (...policies: string[]): string => [pod('web'), pod('db'), ...policies].join('---\n');

const explain = (world: string, ...args: string[]) =>
  run(['explain', '--from', 'a/web', '--to', 'a/db', '--port', '80', '-f', '-', ...args], world);

const tiers = worldOf(
  'apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: { name: sec }\nspec: { order: 100 }\n',
  `apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: { name: sec.closed }
spec:
  tier: sec
  selector: app == 'db'
  ingress:
    - { action: Log }
`,
  `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: a, name: later }
spec: { podSelector: {}, ingress: [] }
`,
);

test('a default deny has the places of those that close its tier, and of rules that log', async () => {
  const { out } = await explain(tiers);
  assert.match(out, /denied by default: GlobalNetworkPolicy sec.closed selects it/);
  assert.match(out, / <stdin>:\d+: GlobalNetworkPolicy sec.closed spec.selector\n/);
  assert.match(out, / <stdin>:\d+: GlobalNetworkPolicy sec.closed spec.ingress\[0\]\n/);
  assert.doesNotMatch(out, /a\/later/);
});

test('JSON tells who isolates from who denies', async () => {
  const told = JSON.parse((await explain(tiers, '-o', 'json')).out);
  assert.deepEqual(schemaViolations('policy-explain', told), []);
  const names = (refs: readonly { name: string }[]) => refs.map(({ name }) => name);
  assert.deepEqual(names(told.ingress.isolatedBy), ['sec.closed', 'later']);
  assert.deepEqual(names(told.ingress.closedBy), ['sec.closed']);
  assert.deepEqual(told.egress.closedBy, []);
});

test('a rule that asks an authorizer has its place', async () => {
  const { out } = await explain(
    worldOf(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { namespace: a, name: asked }
spec:
  action: CUSTOM
  provider: { name: ext }
  rules: [{}]
`),
  );
  assert.match(out, /asks ext, by AuthorizationPolicy a\/asked/);
  assert.match(out, / <stdin>:\d+: AuthorizationPolicy a\/asked spec.rules\[0\]\n/);
});

test('what a rule asks of paths with their queries is told of a request that it misses', async () => {
  const { out } = await explain(
    worldOf(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { namespace: a, name: paths }
spec:
  endpointSelector: {}
  ingress:
    - toPorts: [{ ports: [{ port: "80", protocol: TCP }], rules: { http: [{ method: GET, path: /public }] } }]
`),
    '--http',
    'GET /secret',
  );
  assert.match(out, /matches but for the request: it has HTTP ~GET ~\/public\n/);
});

test('without a cluster there is no answer, and no exit code that is one', async () => {
  for (const args of [['connectivity'], ['explain', '--from', 'a', '--to', 'b', '--port', '1']]) {
    const { code, err } = await run([...args, '--data-dir', '/nonexistent/heddle']);
    assert.equal(code, 2, err);
    assert.match(err, /\[NoCluster\]/);
  }
});

test('where a policy that isolates passes a flow on, nobody says that none isolates', async () => {
  const passing = worldOf(`apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: { name: passing }
spec:
  selector: app == 'db'
  ingress:
    - { action: Pass }
`);
  const { code, out } = await explain(passing);
  assert.equal(code, 0);
  assert.match(
    out,
    /ingress to a\/db: allowed, what isolates it for ingress passes this on, and no rule after that decides it\n/,
  );
});

test('where there is no change, text and JSON say why, and where to look', async () => {
  const broken = worldOf(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { namespace: a, name: asked }
spec:
  action: CUSTOM
  provider: { name: one }
  rules: [{}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { namespace: a, name: too }
spec:
  action: CUSTOM
  provider: { name: two }
  rules: [{}]
`);
  assert.match((await explain(broken)).out, /\nno change: an authorizer outside the cluster denies it/);
  const told = JSON.parse((await explain(broken, '-o', 'json')).out);
  assert.deepEqual(schemaViolations('policy-explain', told), []);
  assert.deepEqual([told.change, told.noChange.why, told.noChange.at], [null, 'authorizer', null]);
});

test('a change of a request is told with its object, path and line', async () => {
  const world = worldOf(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { namespace: a, name: paths }
spec:
  endpointSelector: {}
  ingress:
    - fromEndpoints: [{ matchLabels: { app: web } }]
      toPorts: [{ ports: [{ port: "80", protocol: TCP }], rules: { http: [{ method: GET }] } }]
`);
  const { out } = await explain(world, '--http', 'PUT /x');
  assert.match(out, /smallest change that allows it, and nothing else:\n {2}to spec.ingress\[0\]/);
  assert.match(out, /rules\.http of CiliumNetworkPolicy a\/paths \(.+:\d+\) add:\n {4}- method: PUT\n/);
  const told = JSON.parse((await explain(world, '--http', 'PUT /x', '-o', 'json')).out);
  assert.deepEqual(schemaViolations('policy-explain', told), []);
  assert.deepEqual([told.noChange, told.change.requests, told.change.exact], [null, 'this', true]);
});

test('an assertion that is refuted tells what decides the flow, with object, path and line', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-prove-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'q.yaml');
  writeFileSync(file, '- a/web reaches a/db on 80\n- nothing outside a reaches a/web\n');
  const ask = (...args: string[]) => run(['prove', '-f', '-', file, ...args], tiers);
  const { code, out } = await ask();
  assert.equal(code, 1);
  assert.match(out, /✗ a\/web reaches a\/db on 80\n {4}a\/web → a\/db TCP 80 is denied\n/);
  assert.match(out, / {4}ingress to a\/db: denied by default: GlobalNetworkPolicy sec.closed selects it/);
  assert.match(out, / {4}where:\n {4,}<stdin>:\d+: GlobalNetworkPolicy sec.closed spec.selector\n/);
  const told = JSON.parse((await ask('-o', 'json')).out);
  assert.deepEqual(schemaViolations('policy-prove', told), []);
  const [{ policy, path, file: at, line }] = told.assertions[0].counterexample.ingress.closedBy;
  assert.deepEqual(
    [policy, path, at, typeof line],
    ['GlobalNetworkPolicy sec.closed', 'spec.selector', '<stdin>', 'number'],
  );
});

test('what cannot be read of an expression reads as a sentence behind its path', async () => {
  const broken = worldOf(`apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: { name: broken }
spec: { selector: "app = 'db'" }
`);
  const { code, err } = await run(['connectivity', '-f', '-'], broken);
  assert.equal(code, 2);
  assert.match(
    err,
    /<stdin>:\d+: GlobalNetworkPolicy broken: spec\.selector is no expression: column 5: expected ==/,
  );
});
