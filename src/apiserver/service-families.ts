/**
 * Which families a Service has, by its own fields, what it had before and what the cluster has. The rules are
 * Kubernetes' (`initIPFamilyFields` of its service registry) but for the policy of a Service that names none.
 */
import { invalid } from '../api/field-error.ts';
import type { FieldError } from '../api/resource.ts';
import { isHeadless, validateAddresses } from '../api/service-addresses.ts';
import type { Service } from '../api/types.ts';
import { sameJson } from '../lib/json.ts';
import { tryParseAddress } from '../lib/ip.ts';

export type FamilyName = 'IPv4' | 'IPv6';
type Policy = 'SingleStack' | 'PreferDualStack' | 'RequireDualStack';
type Spec = NonNullable<Service['spec']>;

const POLICY = 'spec.ipFamilyPolicy';

export const familyOf = (text: string): FamilyName | undefined => {
  const address = tryParseAddress(text);
  return address && `IPv${address.family}`;
};

const otherOf = (family: string | undefined): FamilyName => (family === 'IPv4' ? 'IPv6' : 'IPv4');

/** Fills in `ipFamilyPolicy` and `ipFamilies`, and drops what the policy takes away. `cluster`: the default first. */
export function settleFamilies(
  spec: Spec,
  before: Spec | undefined,
  cluster: readonly FamilyName[],
): FieldError[] {
  if (spec.type === 'ExternalName') return [];
  if (before && staysPreferred(spec, before)) return [];
  spec.ipFamilyPolicy ??= before?.ipFamilyPolicy ?? defaultPolicy(spec, cluster);
  const malformed = [...validateAddresses(spec)];
  if (malformed.length > 0) return malformed;
  const errors = [
    ...(before ? release(spec, before) : []),
    ...refuseSecond(spec),
    ...familiesOfAddresses(spec, cluster),
  ];
  if (errors.length > 0) return errors;
  const named = [...(spec.ipFamilies ?? [])];
  // Whoever writes its endpoints may have some of a family that the cluster has not.
  const free = isHeadless(spec) && !hasSelector(spec);
  const refused = free ? [] : refuseFamilies(spec, named, cluster);
  if (refused.length > 0) return refused;
  const families = named.length > 0 ? named : cluster.slice(0, 1);
  const dual = spec.ipFamilyPolicy !== 'SingleStack' && (free || cluster.length === 2);
  spec.ipFamilies = dual && families.length === 1 ? [...families, otherOf(families[0])] : families;
  return [];
}

const hasSelector = ({ selector }: Spec): boolean => Object.keys(selector ?? {}).length > 0;

/** Nothing is added to or taken from a Service that only prefers both, unless an update asks for it. */
const staysPreferred = (spec: Spec, before: Spec): boolean =>
  spec.type === before.type &&
  spec.ipFamilyPolicy === 'PreferDualStack' &&
  before.ipFamilyPolicy === 'PreferDualStack' &&
  sameJson(spec.clusterIPs, before.clusterIPs) &&
  sameJson(spec.ipFamilies, before.ipFamilies);

/** Kubernetes' is SingleStack throughout, but for Services without a selector that are headless: see README.md. */
function defaultPolicy(spec: Spec, cluster: readonly FamilyName[]): Policy {
  if (isHeadless(spec) && !hasSelector(spec)) return 'RequireDualStack';
  const named = spec.ipFamilies?.length ?? 0;
  if (named === 2 || spec.clusterIPs?.length === 2) return 'RequireDualStack';
  return named === 1 || cluster.length === 1 ? 'SingleStack' : 'PreferDualStack';
}

/** `SingleStack` alone, with the rest unchanged, means that the second family goes. */
function release(spec: Spec, before: Spec): FieldError[] {
  const { ipFamilyPolicy, clusterIPs = [], ipFamilies = [] } = spec;
  if (ipFamilyPolicy === 'SingleStack') {
    if (clusterIPs.length > 1 && sameJson(clusterIPs, before.clusterIPs))
      spec.clusterIPs = clusterIPs.slice(0, 1);
    if (ipFamilies.length > 1 && sameJson(ipFamilies, before.ipFamilies))
      spec.ipFamilies = ipFamilies.slice(0, 1);
    return [];
  }
  const isReduced = (now: readonly string[], had: readonly string[] = []) =>
    now.length > 0 && now.length < had.length;
  const words = (what: string) =>
    invalid(POLICY, ipFamilyPolicy, `must be 'SingleStack' to release the secondary ${what}`);
  return [
    ...(isReduced(clusterIPs, before.clusterIPs) ? [words('cluster IP')] : []),
    ...(isReduced(ipFamilies, before.ipFamilies) ? [words('IP family')] : []),
  ];
}

function refuseSecond({ ipFamilyPolicy, clusterIPs, ipFamilies }: Spec): FieldError[] {
  if (ipFamilyPolicy !== 'SingleStack') return [];
  const words = (what: string) =>
    invalid(
      POLICY,
      ipFamilyPolicy,
      `must be 'RequireDualStack' or 'PreferDualStack' when multiple ${what} are specified`,
    );
  return [
    ...(clusterIPs?.length === 2 ? [words('cluster IPs')] : []),
    ...(ipFamilies?.length === 2 ? [words('IP families')] : []),
  ];
}

/** A family that is not named is its address's. */
function familiesOfAddresses(spec: Spec, cluster: readonly FamilyName[]): FieldError[] {
  const errors: FieldError[] = [];
  const families = [...(spec.ipFamilies ?? [])];
  for (const [i, text] of (isHeadless(spec) ? [] : (spec.clusterIPs ?? [])).entries()) {
    const family = familyOf(text);
    if (i < families.length || !family) continue;
    if (cluster.includes(family)) families.push(family);
    else
      errors.push(
        invalid(`spec.clusterIPs[${i}]`, spec.clusterIPs, `${family} is not configured on this cluster`),
      );
  }
  if (families.length > 0) spec.ipFamilies = families;
  return errors;
}

function refuseFamilies(
  { ipFamilyPolicy }: Spec,
  named: readonly string[],
  cluster: readonly FamilyName[],
): FieldError[] {
  const single = ipFamilyPolicy === 'RequireDualStack' && cluster.length < 2;
  return [
    ...(single
      ? [invalid(POLICY, ipFamilyPolicy, 'this cluster is not configured for dual-stack services')]
      : []),
    ...named.flatMap((family, i) =>
      cluster.some((each) => each === family)
        ? []
        : [invalid(`spec.ipFamilies[${i}]`, family, 'not configured on this cluster')],
    ),
  ];
}
