/** `clusterIP`, `clusterIPs` and families of a Service: which go together, and what an update may do to them. */
import type { IServiceSpec } from 'kubernetes-models/v1/ServiceSpec';
import { type Address, tryCanonical, tryParseAddress } from '../lib/ip.ts';
import { sameJson } from '../lib/json.ts';
import { duplicate, invalid, oneOf, type Problems, required } from './field-error.ts';

const IP_WORDS = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';
const FIXED = 'may not change once set';
const POLICIES = ['PreferDualStack', 'RequireDualStack', 'SingleStack'];

export const isHeadless = ({ clusterIP }: IServiceSpec): boolean => clusterIP === 'None';
const isNamed = ({ type }: IServiceSpec): boolean => type === 'ExternalName';

/** What must hold before families are settled; a policy that is not there yet is settled with them. */
export function* validateAddresses(spec: IServiceSpec): Problems {
  if (isNamed(spec)) return;
  const families = spec.ipFamilies ?? [];
  const addresses = spec.clusterIPs ?? [];
  if (!spec.clusterIP && addresses.length > 0)
    yield invalid('spec.clusterIPs', addresses, 'must be empty when `clusterIP` is not specified');
  else if (spec.clusterIP && addresses.length === 0) yield required('spec.clusterIPs');
  else if (spec.clusterIP && addresses[0] !== spec.clusterIP)
    yield invalid('spec.clusterIPs', addresses, 'first value must match `clusterIP`');
  for (const [i, family] of families.entries()) {
    yield* oneOf(`spec.ipFamilies[${i}]`, family, ['IPv4', 'IPv6']);
    if (families.indexOf(family) < i) yield duplicate(`spec.ipFamilies[${i}]`, family);
  }
  yield* oneOf('spec.ipFamilyPolicy', spec.ipFamilyPolicy, POLICIES);
  yield* validateClusterIps(addresses, families);
}

const familyName = (address: Address): string => `IPv${address.family}`;

function* validateClusterIps(addresses: readonly string[], families: readonly string[]): Problems {
  const [first] = addresses;
  let broken = false;
  for (const [i, text] of addresses.entries()) {
    if (i === 0 && text === 'None') {
      broken = addresses.length > 1;
      if (broken) yield invalid('spec.clusterIPs', addresses, "'None' must be the first and only value");
    } else if (!tryParseAddress(text)) {
      broken = true;
      yield invalid(`spec.clusterIPs[${i}]`, text, IP_WORDS);
    }
  }
  if (addresses.length > 2) yield invalid('spec.clusterIPs', addresses, 'may only hold up to 2 values');
  if (broken || first === 'None') return;
  const found = addresses.flatMap((text) => tryParseAddress(text) ?? []).map(familyName);
  if (addresses.length > 1 && new Set(found).size !== addresses.length)
    yield invalid('spec.clusterIPs', addresses, 'may specify no more than one IP for each IP family');
  for (const [i, family] of found.entries()) {
    const wanted = families[i];
    if ((wanted === 'IPv4' || wanted === 'IPv6') && wanted !== family)
      yield invalid(
        `spec.clusterIPs[${i}]`,
        addresses[i],
        `expected an ${wanted} value as indicated by \`ipFamilies[${i}]\``,
      );
  }
}

/** The primary stays while the Service has addresses; a secondary comes and goes by the policy. */
export function* validateAddressUpdate(now: IServiceSpec, before: IServiceSpec): Problems {
  if (isNamed(now) || isNamed(before)) return;
  if (isHeadless(now) && isHeadless(before)) return;
  yield* stays(now, { field: 'clusterIPs', one: 'clusterIP' }, now.clusterIPs ?? [], before.clusterIPs ?? []);
  // The address says enough, and a Service without any may change its families.
  if (isHeadless(now) || isHeadless(before)) return;
  yield* stays(now, { field: 'ipFamilies', one: 'ipFamily' }, now.ipFamilies ?? [], before.ipFamilies ?? []);
}

function* stays(
  { ipFamilyPolicy }: IServiceSpec,
  { field, one }: { readonly field: string; readonly one: string },
  now: readonly string[],
  before: readonly string[],
): Problems {
  if (before.length === 0) return;
  if (now.length === 0) yield invalid(`spec.${field}[0]`, now, `primary ${one} can not be unset`);
  else if (now[0] !== before[0]) yield invalid(`spec.${field}[0]`, now, FIXED);
  if (now.length === 2 && before.length === 2 && now[1] !== before[1])
    yield invalid(`spec.${field}[1]`, now, FIXED);
  if (now.length === 1 && before.length === 2 && ipFamilyPolicy !== 'SingleStack')
    yield invalid(
      'spec.ipFamilyPolicy',
      ipFamilyPolicy,
      `must be set to 'SingleStack' when releasing the secondary ${one}`,
    );
}

/**
 * Of an update: what was given out and the client left out is kept; `clusterIPs` follows a `clusterIP` that was
 * changed by one who knows only that. Changes `spec`.
 */
export function keepAddresses(spec: IServiceSpec, old: IServiceSpec): void {
  if (!isNamed(spec) && !isNamed(old)) {
    if (!spec.clusterIP && old.clusterIP) spec.clusterIP = old.clusterIP;
    if (!spec.clusterIPs?.length && old.clusterIPs) spec.clusterIPs = old.clusterIPs;
  }
  const same = sameJson(spec.clusterIPs, old.clusterIPs);
  if (same && spec.clusterIP !== old.clusterIP) {
    if (spec.clusterIP) spec.clusterIPs = [spec.clusterIP];
    else delete spec.clusterIPs;
  }
  // The same address in other letters is no change.
  const spelling = (text: string) =>
    old.clusterIPs?.find((each) => each === text || canonical(each) === canonical(text)) ?? text;
  if (spec.clusterIP) spec.clusterIP = spelling(spec.clusterIP);
  if (spec.clusterIPs) spec.clusterIPs = spec.clusterIPs.map(spelling);
}

const canonical = (text: string): string => tryCanonical(text)?.text ?? text;
