/**
 * Lowers NetworkPolicy and GlobalNetworkPolicy of Calico (projectcalico.org/v3) to the model. Rules for some of the
 * policy's pods alone are a policy of their own beside it, which closes nothing.
 */
import { calicoTypes } from '../../api/calico-policy.ts';
import type { CalicoGlobalPolicySpec, CalicoPolicy, CalicoPolicySpec } from '../../api/calico-types.ts';
import type { SelectorExpression } from '../../api/calico-selector.ts';
import { tryParseAddress, tryParseCidr } from '../../lib/ip.ts';
import type { Direction, PolicyRef } from '../decision.ts';
import { type Policy, policyOf } from '../model.ts';
import { podPeer, setPeer } from '../peers.ts';
import { everything } from '../selector.ts';
import { type Stage, stageIn } from '../stage.ts';
import type { PolicyProblem } from '../tables.ts';
import { PRIORITIES, TIERS } from '../tiers.ts';
import type { Surroundings, WorldAddressSet } from '../world.ts';
import {
  both,
  inNamespace,
  type LabelledRanges,
  labelsOfSet,
  ofAccount,
  ofNamespace,
  subjectOf,
} from './calico-endpoints.ts';
import { lowerCalicoRule, MIXED } from './calico-rules.ts';
import { calicoSelector, readExpression } from './calico-selector.ts';
import { DEFAULT_TIER, isOfKubernetes, placeTiers, type TierPlace } from './calico-tiers.ts';
import { type Report, reportTo } from './read.ts';

/** Apart from the other kind of that name. */
export const CALICO_NETWORK_POLICY_KIND = 'NetworkPolicy.projectcalico.org';

export function lowerCalicoPolicy(
  object: CalicoPolicy,
  inherited: Stage | undefined,
  surroundings: Surroundings,
): readonly Policy[] {
  const { metadata } = object;
  const isGlobal = object.kind === 'GlobalNetworkPolicy';
  const ref: PolicyRef = {
    kind: isGlobal ? object.kind : CALICO_NETWORK_POLICY_KIND,
    namespace: isGlobal ? '' : (metadata.namespace ?? 'default'),
    name: metadata.name,
  };
  const problems: PolicyProblem[] = [];
  const report = reportTo(problems, ref);
  const spec: CalicoGlobalPolicySpec = object.spec ?? {};
  const { tiers, sets } = contextOf(surroundings);
  const tier = readTier(spec, tiers, report);
  const priority = readOrder(spec, report);
  const subject = readSubject(spec, ref, report);
  const stage = stageIn(metadata.labels) ?? inherited ?? 'enforce';
  if (!tier || priority === undefined || !subject || isForHosts(spec, report))
    return [policyOf({ ...forNobody, ref, stage, problems })];

  const types = calicoTypes(spec);
  const isFor = (direction: Direction): boolean =>
    types.includes(direction === 'ingress' ? 'Ingress' : 'Egress');
  const { services = [] } = surroundings;
  const context = { ref, tier: tier.number, priority, sets, services, report };
  const rules = DIRECTIONS.filter(isFor).flatMap((direction) =>
    (spec[direction] ?? []).map((rule, i) => lowerCalicoRule(rule, direction, i, context)),
  );
  const common = { stage, tier: tier.number };
  const whole = policyOf({
    ...common,
    ref,
    subject: subjectOf(subject)!,
    isolates: { ingress: tier.closes && isFor('ingress'), egress: tier.closes && isFor('egress') },
    rules: rules.flatMap(({ rule, own }) => (own ? [] : [rule])),
    problems,
  });
  const parts = Map.groupBy(
    rules.filter(({ own }) => own !== undefined),
    ({ own }) => calicoSelector(own!).text,
  );
  return [
    whole,
    ...[...parts.values()].map((part) =>
      policyOf({
        ...common,
        ref: { ...ref, part: part[0]!.rule.ref.path },
        subject: subjectOf(both([subject, part[0]!.own!]))!,
        isolates: { ingress: false, egress: false },
        rules: part.map(({ rule }) => rule),
        problems: [],
      }),
    ),
  ];
}

/** Whether what it means depends on Services. */
export const namesCalicoServices = ({ spec }: CalicoPolicy): boolean =>
  [...(spec?.ingress ?? []), ...(spec?.egress ?? [])].some(
    ({ source, destination }) => source?.services !== undefined || destination?.services !== undefined,
  );

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

const forNobody = {
  subject: podPeer({ name: '' }, everything),
  tier: TIERS.default,
  isolates: { ingress: false, egress: false },
  rules: [],
} as const;

interface Context {
  readonly tiers: ReadonlyMap<string, TierPlace>;
  readonly sets: readonly LabelledRanges[];
}

const contexts = new WeakMap<Surroundings, Context>();

/** The same for all policies of a world. */
function contextOf(surroundings: Surroundings): Context {
  const known = contexts.get(surroundings);
  if (known) return known;
  const sets = (surroundings.addressSets ?? [])
    .filter(({ kind }) => kind === 'NetworkSet' || kind === 'GlobalNetworkSet')
    .map(rangesOf);
  const made = { tiers: placeTiers(surroundings.tiers ?? []), sets };
  contexts.set(surroundings, made);
  return made;
}

/** What is neither an address nor a range is left out: the API server stores no such set. */
function rangesOf({
  kind,
  namespace,
  name,
  labels,
  namespaceLabels = {},
  cidrs,
}: WorldAddressSet): LabelledRanges {
  const ranges = cidrs.flatMap((text) => {
    const address = tryParseAddress(text);
    const range = address ? { ...address, length: address.family === 4 ? 32 : 128 } : tryParseCidr(text);
    return range ? [range] : [];
  });
  return {
    labels: labelsOfSet(namespace, labels, namespaceLabels),
    peer: setPeer(`${kind} ${namespace === '' ? name : `${namespace}/${name}`}`, ranges),
  };
}

function readTier(
  { tier }: CalicoPolicySpec,
  tiers: ReadonlyMap<string, TierPlace>,
  report: Report,
): TierPlace | undefined {
  const name = tier === undefined || tier === '' ? DEFAULT_TIER : tier;
  const place = isOfKubernetes(name) ? undefined : tiers.get(name);
  if (!place)
    report(
      'spec.tier',
      isOfKubernetes(name)
        ? `"${name}" is the tier of another kind of policies`
        : `there is no Tier "${name}": nobody knows when it would decide, so it does not`,
    );
  return place;
}

function readOrder({ order }: CalicoPolicySpec, report: Report): number | undefined {
  if (order === undefined || order === null) return PRIORITIES.last;
  if (Number.isFinite(order)) return order;
  report('spec.order', `${JSON.stringify(order)} is no number`);
  return undefined;
}

function isForHosts(spec: CalicoGlobalPolicySpec, report: Report): boolean {
  const fields = (['doNotTrack', 'preDNAT'] as const).filter((field) => spec[field] === true);
  for (const field of fields)
    report(`spec.${field}`, 'it is for host endpoints, and there are none: policies are for pods');
  return fields.length > 0;
}

/** Undefined if it cannot be read: the policy is for nobody. */
function readSubject(
  spec: CalicoGlobalPolicySpec,
  ref: PolicyRef,
  report: Report,
): SelectorExpression | undefined {
  const parts: SelectorExpression[] = ref.namespace === '' ? [] : [inNamespace(ref.namespace)];
  const fields = [
    ['selector', (own: SelectorExpression) => own],
    ['serviceAccountSelector', ofAccount],
    ...(ref.namespace === '' ? [['namespaceSelector', ofNamespace] as const] : []),
  ] as const;
  for (const [field, place] of fields) {
    const text = spec[field];
    if (text === undefined || text === null || text === '') continue;
    const read = readExpression(text);
    if (!read.ok) {
      report(`spec.${field}`, read.message);
      return undefined;
    }
    parts.push(place(read.expression));
  }
  const subject = both(parts);
  if (subjectOf(subject)) return subject;
  report('spec.selector', MIXED);
  return undefined;
}
