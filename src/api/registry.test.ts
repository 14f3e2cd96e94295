import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { allByUserWord, findByUserWord, findKind, findResource, ofCategory, registry } from './registry.ts';
import { pruneUnknown, typeErrors, unknownFields } from './schema/check.ts';
import { anyObject } from './testing/arbitrary.ts';
import type { KubeObject } from './types.ts';

test('a kind is found by its path, its name and by what users write', () => {
  assert.equal(findResource('apps', 'v1', 'deployments')?.kind.kind, 'Deployment');
  assert.equal(findKind('v1', 'Pod')?.kind.resource, 'pods');
  for (const word of ['deploy', 'Deployment', 'deployments', 'deployment.apps', 'deployments.v1.apps'])
    assert.equal(findByUserWord(word)?.kind.kind, 'Deployment', word);
  assert.equal(findByUserWord('netpol')?.kind.kind, 'NetworkPolicy');
  assert.equal(findByUserWord('deployments.extensions'), undefined);
  for (const word of ['netpol', 'networkpolicy', 'networkpolicies.networking.k8s.io', 'networkpolicy.n'])
    assert.equal(findByUserWord(word)?.kind.group, 'networking.k8s.io', word);
  for (const word of ['networkpolicies.projectcalico.org', 'networkpolicy.p', 'caliconetworkpolicy'])
    assert.equal(findByUserWord(word)?.kind.group, 'projectcalico.org', word);
  assert.equal(findResource('apps', 'v1beta1', 'deployments'), undefined);
  assert.deepEqual(
    ofCategory('all').map((r) => r.kind.kind),
    ['Pod', 'Service', 'Deployment', 'ReplicaSet'],
  );
});

test('no two kinds share a word, but for cnp, which both upstreams have', () => {
  // As in a cluster with Calico: its NetworkPolicy, and what it stores itself, are said with their groups.
  const others = registry.filter(
    (r) =>
      r !== findKind('projectcalico.org/v3', 'NetworkPolicy') && r.kind.group !== 'crd.projectcalico.org',
  );
  const words = others.flatMap((r) => [r.kind.resource, r.singular, ...r.shortNames]);
  const doubled = words.filter((word, i) => words.indexOf(word) < i);
  assert.deepEqual(doubled, ['cnp']);
});

test('cnp is Cilium’s, whose group discovery lists first; with its group it is the other', () => {
  assert.deepEqual(
    allByUserWord('cnp').map(({ kind }) => kind.kind),
    ['CiliumNetworkPolicy', 'ClusterNetworkPolicy'],
  );
  assert.equal(findByUserWord('cnp')?.kind.kind, 'CiliumNetworkPolicy');
  assert.equal(findByUserWord('cnp.policy.networking.k8s.io')?.kind.kind, 'ClusterNetworkPolicy');
});

for (const resource of registry) {
  const { kind } = resource;
  test(`${kind.kind}: whatever has the right types can be completed, checked and shown`, () => {
    fc.assert(
      fc.property(anyObject(kind), anyObject(kind), (first, second) => {
        assert.deepEqual(typeErrors(kind, first), []);
        assert.deepEqual(unknownFields(kind, first), []);
        const [now, before] = [first, second].map((drawn) =>
          resource.applyDefaults(pruneUnknown(kind, drawn) as KubeObject),
        ) as [KubeObject, KubeObject];
        for (const error of [...resource.validate(now), ...resource.validateUpdate(now, before)])
          assert.ok(error.message.length > 0 && error.type.startsWith('FieldValue'), JSON.stringify(error));
        for (const column of resource.columns)
          assert.equal(
            typeof column.value(now, 0),
            column.type === 'integer' ? 'number' : 'string',
            column.name,
          );
        for (const read of Object.values(resource.selectableFields)) assert.equal(typeof read(now), 'string');
      }),
      { numRuns: 150 },
    );
  });

  test(`${kind.kind}: defaults are pure, keep to the kind's fields, and change nothing the second time`, () => {
    fc.assert(
      fc.property(anyObject(kind, 50), (drawn) => {
        const given = pruneUnknown(kind, drawn) as KubeObject;
        const text = JSON.stringify(given);
        const once = resource.applyDefaults(given);
        assert.equal(JSON.stringify(given), text);
        assert.deepEqual(resource.applyDefaults(once), once);
        assert.deepEqual(unknownFields(kind, once), []);
        assert.deepEqual(typeErrors(kind, once), []);
      }),
      { numRuns: 100 },
    );
  });

  test(`${kind.kind}: an object may become itself`, () => {
    fc.assert(
      fc.property(anyObject(kind), (drawn) => {
        const object = resource.applyDefaults(pruneUnknown(kind, drawn) as KubeObject);
        assert.deepEqual(resource.validateUpdate(object, object), []);
      }),
      { numRuns: 50 },
    );
  });
}
