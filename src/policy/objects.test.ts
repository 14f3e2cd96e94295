import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile } from './compile.ts';
import { createDecider } from './decide.ts';
import { lowerPolicy, type PolicyObject } from './objects.ts';
import { flowOf } from './testing/flow-text.ts';
import type { World } from './world.ts';

const KINDS = ['NetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy', 'ClusterNetworkPolicy'];
const WORDS = [
  'priority',
  'tier',
  'subject',
  'namespaces',
  'pods',
  'nodes',
  'networks',
  'ingress',
  'egress',
  'from',
  'to',
  'action',
  'ports',
  'protocols',
  'portNumber',
  'port',
  'podSelector',
  'namespaceSelector',
  'matchLabels',
  'matchExpressions',
  'key',
  'operator',
  'values',
  'ipBlock',
  'cidr',
  'except',
  'policyTypes',
  'name',
];

const part = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 6, depthSize: 'medium' },
    fc.constantFrom<unknown>(
      'Admin',
      'Deny',
      'Allow',
      'In',
      'Ingress',
      'http',
      '10.0.0.0/8',
      0,
      1,
      80,
      null,
      true,
    ),
    fc.array(tie('any'), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom(...WORDS), tie('any'), { maxKeys: 4 }),
  ),
})).any;

const objects = fc
  .tuple(fc.constantFrom(...KINDS), part)
  .map(
    ([kind, spec]) =>
      ({ kind, metadata: { name: 'default', namespace: 'a' }, spec }) as unknown as PolicyObject,
  );

const pod = (name: string, address: string) => ({
  namespace: 'a',
  name,
  node: 'n',
  labels: { app: name },
  addresses: [address],
  ports: [],
});

test('whatever the object, the rest of the world is decided', () => {
  const sound = {
    kind: 'AdminNetworkPolicy',
    metadata: { name: 'sound' },
    spec: {
      priority: 0,
      subject: { namespaces: {} },
      ingress: [
        {
          action: 'Deny',
          from: [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'x' } } } }],
        },
      ],
    },
  } as unknown as PolicyObject;
  fc.assert(
    fc.property(objects, (object) => {
      const world: World = {
        pods: [pod('x', '10.0.0.1'), pod('y', '10.0.0.2')],
        namespaces: [],
        nodes: [],
        policies: [sound, object],
      };
      compile(world);
      const decide = createDecider(world);
      assert.equal(decide(flowOf('a/x > a/y TCP 80')).ingress.verdict, 'deny');
      decide(flowOf('a/y > a/x TCP 80'));
    }),
    { numRuns: 2000 },
  );
});

test('an object that is not of the form of its kind is for nobody, and is reported', () => {
  const policy = lowerPolicy({
    kind: 'NetworkPolicy',
    metadata: { namespace: 'a', name: 'p' },
    spec: { podSelector: {}, ingress: [null] },
  } as unknown as PolicyObject);
  assert.deepEqual(policy.concerns, { ingress: false, egress: false });
  assert.match(policy.problems[0]!.message, /^is not of the form of its kind/);
  assert.deepEqual(policy.problems[0]!.policy, { kind: 'NetworkPolicy', namespace: 'a', name: 'p' });
});
