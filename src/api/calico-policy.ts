/** NetworkPolicy and GlobalNetworkPolicy, `projectcalico.org/v3`. */
import { validateRules, validateSelector } from './calico-rule-validation.ts';
import type {
  CalicoGlobalNetworkPolicy,
  CalicoNetworkPolicy,
  CalicoPolicy,
  CalicoPolicySpec,
} from './calico-types.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { duplicate, forbidden, formatted, oneOf, type Problems, required } from './field-error.ts';
import { dns1123Label, dns1123Subdomain } from './formats.ts';
import { CALICO_NETWORK_POLICY, GLOBAL_NETWORK_POLICY } from './kinds.ts';
import type { Column } from './resource.ts';

const DEFAULT_TIER = 'default';
const HINTS = ['AssumeNeededOnEveryNode'];

const columns: readonly Column<CalicoPolicy>[] = [
  nameColumn,
  text('Tier', 'The Tier that it is of.', ({ spec }) => spec?.tier ?? DEFAULT_TIER),
  text('Order', 'Within the tier the lower decides first.', ({ spec }) => String(spec?.order ?? '')),
  text('Selector', 'Pods that it applies to.', ({ spec }) => spec?.selector ?? '', true),
  ageColumn,
];

/** Directions that a policy has rules for; Ingress if it has none. (API reference: "types".) */
export function calicoTypes({ types, ingress = [], egress = [] }: CalicoPolicySpec): string[] {
  if (types && types.length > 0) return types;
  if (egress.length === 0) return ['Ingress'];
  return ingress.length === 0 ? ['Egress'] : ['Ingress', 'Egress'];
}

function setDefaults({ spec }: CalicoPolicy): void {
  if (!spec) return;
  spec.tier = spec.tier === undefined || spec.tier === '' ? DEFAULT_TIER : spec.tier;
  spec.types = calicoTypes(spec);
}

function* validateSpec(spec: CalicoPolicySpec | undefined, global: boolean): Problems {
  if (!spec) {
    yield required('spec');
    return;
  }
  yield* formatted('spec.tier', spec.tier ?? DEFAULT_TIER, dns1123Label);
  yield* validateSelector(spec.selector, 'spec.selector');
  yield* validateSelector(spec.serviceAccountSelector, 'spec.serviceAccountSelector');
  yield* validateSet('spec.types', spec.types, ['Ingress', 'Egress']);
  yield* validateSet('spec.performanceHints', spec.performanceHints, HINTS);
  for (const direction of ['ingress', 'egress'] as const)
    yield* validateRules(spec[direction], { direction, global });
}

function* validateSet(
  path: string,
  values: readonly string[] | undefined,
  known: readonly string[],
): Problems {
  for (const [i, value] of (values ?? []).entries()) {
    yield* oneOf(`${path}[${i}]`, value, known);
    if (values!.indexOf(value) < i) yield duplicate(`${path}[${i}]`, value);
  }
}

/** What is decided, and no data path can tell. */
function* warningsOf({ spec }: CalicoPolicy): Iterable<string> {
  for (const direction of ['ingress', 'egress'] as const)
    for (const [i, { source, http, icmp, notICMP }] of (spec?.[direction] ?? []).entries()) {
      const path = `spec.${direction}[${i}]`;
      if (http) yield `${path}.http: no proxy asks it yet: what only rules for requests allow is denied`;
      if ([...(source?.ports ?? []), ...(source?.notPorts ?? [])].length > 0)
        yield `${path}.source: ports of senders are not told apart: it matches nothing if it allows, else every port`;
      if (icmp?.type !== undefined || notICMP?.type !== undefined)
        yield `${path}: types of ICMP are not told apart: where rules differ by them, all are denied`;
    }
}

export const calicoNetworkPolicy = define<CalicoNetworkPolicy>({
  kind: CALICO_NETWORK_POLICY,
  // As kubectl has it: `networkpolicy` alone is that of networking.k8s.io, which discovery lists first.
  singular: 'networkpolicy',
  shortNames: ['caliconetworkpolicy'],
  name: dns1123Subdomain,
  columns,
  setDefaults,
  validate: ({ spec }) => validateSpec(spec, false),
  warnings: warningsOf,
});

export const globalNetworkPolicy = define<CalicoGlobalNetworkPolicy>({
  kind: GLOBAL_NETWORK_POLICY,
  singular: 'globalnetworkpolicy',
  shortNames: ['gnp', 'cgnp'],
  name: dns1123Subdomain,
  columns,
  setDefaults,
  *validate({ spec }) {
    yield* validateSpec(spec, true);
    if (!spec) return;
    yield* validateSelector(spec.namespaceSelector, 'spec.namespaceSelector');
    for (const field of ['doNotTrack', 'preDNAT'] as const)
      if (spec[field])
        yield forbidden(
          `spec.${field}`,
          'it is for host endpoints, and there are none: policies are for pods',
        );
  },
});
