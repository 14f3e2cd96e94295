import assert from 'node:assert/strict';
import test from 'node:test';
import { parseManifests } from './manifest/parse.ts';
import { findByUserWord } from './registry.ts';
import { siblingsOf } from './schema/check.ts';
import { findUnsupported, rowPaths, summariseUnsupported, unsupportedText } from './unsupported.ts';

const found = (text: string) => findUnsupported(parseManifests({ file: 'm.yaml', text }).objects);
const pod = (name: string, rest: string) =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: ns}\nspec:\n  containers: [{name: a, image: i}]\n${rest}`;

test('kinds that are not served are skipped, with what that means', () => {
  const [ingress, old, custom] = found(
    'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\n---\napiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: b}\n---\napiVersion: example.com/v1\nkind: Thing\nmetadata: {name: c}\n',
  );
  assert.equal(ingress?.skipped, true);
  assert.match(ingress?.why ?? '', /does not act on networking\.k8s\.io\/v1 Ingress: no way in/);
  assert.match(old?.why ?? '', /knows Deployment as apps\/v1, not as extensions\/v1beta1/);
  assert.equal(
    custom && unsupportedText(custom),
    'm.yaml:9: Thing c: skipped: this version of Heddle does not act on example.com/v1 Thing',
  );
});

test('fields that are not acted on are named with their line', () => {
  const all = found(
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: ns}\nspec:\n  template:\n    spec:\n      initContainers:\n      - {name: i, image: x}\n      containers:\n      - name: a\n        readinessProbe:\n          exec: {command: [x]}\n      - name: b\n        livenessProbe:\n          exec: {command: [x]}\n',
  ).map((u) => [u.line, u.path, u.skipped]);
  assert.deepEqual(all, [
    [7, 'spec.template.spec.initContainers', false],
    [15, 'spec.template.spec.containers[1].livenessProbe.exec', false],
    [12, 'spec.template.spec.containers[0].readinessProbe.exec', false],
  ]);
});

test('values that change nothing are not named', () => {
  assert.deepEqual(
    found(
      pod(
        'p',
        '  hostNetwork: false\n  nodeSelector: {a: b}\n  initContainers: [{name: s, image: i, restartPolicy: Always}]\n  restartPolicy: Always\n  volumes: []\n',
      ),
    ),
    [],
  );
  assert.deepEqual(
    found(
      'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: ClusterIP, sessionAffinity: None}\n',
    ),
    [],
  );
});

test('a summary says each reason once', () => {
  const rest = '  topologySpreadConstraints: [{maxSkew: 1}]\n';
  const lines = summariseUnsupported(found(`${pod('p', rest)}---\n${pod('q', rest)}---\n${pod('r', rest)}`));
  assert.equal(lines.length, 1);
  assert.match(
    lines[0] ?? '',
    /^m\.yaml:6: Pod ns\/p: spec\.topologySpreadConstraints: .* \(and 2 more like it\)$/,
  );
});

test('what a policy of Cilium’s needs a proxy, proofs or names for is told', () => {
  const rules = '{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET}]}}';
  const plain = '{ports: [{port: "80", protocol: TCP}], rules: {http: []}}';
  const text = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: ns}
spec:
  endpointSelector: {}
  ingress: [{toPorts: [${plain}, ${rules}], authentication: {mode: disabled}}]
specs:
  - endpointSelector: {}
    egress: [{toFQDNs: [{matchName: a.b}], authentication: {mode: required}}]
`;
  assert.deepEqual(
    found(text).map(({ path }) => path),
    [
      'spec.ingress[0].toPorts[1].rules',
      'specs[0].egress[0].authentication.mode',
      'specs[0].egress[0].toFQDNs',
    ],
  );
});

test('every row names a field that the kind has', () => {
  for (const [kind, path] of rowPaths()) {
    const concrete = path.replaceAll('.*', '[0]');
    const resource = findByUserWord(kind);
    assert.ok(resource, kind);
    assert.ok(siblingsOf(resource.kind, concrete).includes(path.split('.').at(-1) ?? ''), `${kind}: ${path}`);
  }
});
