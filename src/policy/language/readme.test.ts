import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  ADMIN_NETWORK_POLICY,
  AUTHORIZATION_POLICY,
  apiVersionOf,
  BASELINE_ADMIN_NETWORK_POLICY,
  CALICO_NETWORK_POLICY,
  CILIUM_CIDR_GROUP,
  CILIUM_CLUSTERWIDE_NETWORK_POLICY,
  CILIUM_NETWORK_POLICY,
  CLUSTER_NETWORK_POLICY,
  GLOBAL_NETWORK_POLICY,
  GLOBAL_NETWORK_SET,
  type Kind,
  NETWORK_POLICY,
  PEER_AUTHENTICATION,
  NETWORK_SET,
  TIER,
} from '../../api/kinds.ts';
import { definitionOf, schemaOf } from '../../api/schema/load.ts';
import type { Definition, FieldType } from '../../api/schema/model.ts';

const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');

const referred = (type: FieldType): string | undefined => {
  if (typeof type !== 'object') return undefined;
  if ('r' in type) return type.r;
  return 'a' in type ? referred(type.a) : 'm' in type ? referred(type.m) : undefined;
};

/** Names of all fields below `spec` that are the language's own. */
function fieldsOf(kind: Kind): Set<string> {
  const names = new Set<string>();
  const walk = (definition: Definition | undefined): void => {
    for (const [name, [type]] of Object.entries(definition?.p ?? {})) {
      names.add(name);
      const next = referred(type);
      if (next && !next.endsWith('LabelSelector')) walk(definitionOf(next));
    }
  };
  walk(definitionOf(referred(schemaOf(kind).p['spec']![0]) ?? ''));
  return names;
}

for (const [kind, also] of [
  [NETWORK_POLICY, undefined],
  [ADMIN_NETWORK_POLICY, undefined],
  [BASELINE_ADMIN_NETWORK_POLICY, ADMIN_NETWORK_POLICY],
  [CLUSTER_NETWORK_POLICY, undefined],
  [CILIUM_NETWORK_POLICY, undefined],
  [CILIUM_CLUSTERWIDE_NETWORK_POLICY, CILIUM_NETWORK_POLICY],
  [CILIUM_CIDR_GROUP, undefined],
  [AUTHORIZATION_POLICY, undefined],
  [PEER_AUTHENTICATION, undefined],
  [CALICO_NETWORK_POLICY, undefined],
  [GLOBAL_NETWORK_POLICY, CALICO_NETWORK_POLICY],
  [TIER, undefined],
  [NETWORK_SET, undefined],
  [GLOBAL_NETWORK_SET, undefined],
] as const)
  test(`every field of ${kind.kind} of ${kind.group} is in its table`, () => {
    const words = [kind, ...(also ? [also] : [])]
      .map((each) => readme.split(`## ${each.kind} (${apiVersionOf(each)}`)[1]?.split('\n## ')[0] ?? '')
      .join('\n');
    const named = new Set([...words.matchAll(/`([\w.]+)`/g)].flatMap(([, path = '']) => path.split('.')));
    // Selectors of namespaces and pods in `pods` are what it is.
    const known = new Set([...named, 'namespaceSelector', 'podSelector']);
    assert.deepEqual(
      [...fieldsOf(kind)].filter((name) => !known.has(name)),
      [],
    );
  });
