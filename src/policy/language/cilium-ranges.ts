/** Ranges that Cilium's rules name: by themselves, or as CiliumCIDRGroups. They never mean what is in the cluster. */
import type { CiliumCidrRule } from '../../api/cilium-policy-types.ts';
import { type Cidr, contains, firstOf, tryParseAddress, tryParseCidr } from '../../lib/ip.ts';
import { allOf, anyOf, blockPeer, entityPeer, not, outsideBlock, type Peer, setPeer } from '../peers.ts';
import type { WorldAddressSet } from '../world.ts';
import { readCidr, readSelector, type Report } from './read.ts';

/** An address, or a range. */
export function readOutside(text: string, path: string, report: Report): Peer[] | undefined {
  const address = typeof text === 'string' ? tryParseAddress(text) : undefined;
  const cidr = address
    ? { ...address, length: address.family === 4 ? 32 : 128 }
    : readCidr(text, path, report);
  return cidr && [outsideBlock(cidr, [])];
}

export const CIDR_GROUP = 'CiliumCIDRGroup';

const FIELDS = ['cidr', 'cidrGroupRef', 'cidrGroupSelector'] as const;

const isGiven = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

/** Whether what it means depends on CiliumCIDRGroups. */
export const namesGroup = ({ cidrGroupRef, cidrGroupSelector }: CiliumCidrRule): boolean =>
  isGiven(cidrGroupRef) || isGiven(cidrGroupSelector);

/** @param sets of all kinds */
export function readCidrRule(
  rule: CiliumCidrRule,
  sets: readonly WorldAddressSet[],
  path: string,
  report: Report,
): Peer[] | undefined {
  const given = FIELDS.filter((field) => isGiven(rule[field]));
  if (given.length > 1) {
    report(path, `needs one of ${given.join(' and ')}, not several`);
    return undefined;
  }
  const except = (rule.except ?? []).map((text, i) => readCidr(text, `${path}.except[${i}]`, report));
  const known = except.filter((range) => range !== undefined);
  const isRead = known.length === except.length;
  if (namesGroup(rule)) {
    const groups = readGroups(rule, sets, path, report);
    return groups && isRead ? groups.flatMap((group) => groupPeers(group, known)) : undefined;
  }
  const cidr = readCidr(rule.cidr, `${path}.cidr`, report);
  if (!cidr || !isRead) return undefined;
  // An exception may be all that there is.
  if (known.some((range) => range.length <= cidr.length && contains(range, firstOf(cidr)))) return [];
  const within = known.filter((range) => contains(cidr, firstOf(range)));
  return [outsideBlock(cidr, within)];
}

/** One that is not there yet is nobody, and comes into effect when it is. */
function readGroups(
  { cidrGroupRef, cidrGroupSelector }: CiliumCidrRule,
  sets: readonly WorldAddressSet[],
  path: string,
  report: Report,
): WorldAddressSet[] | undefined {
  const groups = sets.filter(({ kind }) => kind === CIDR_GROUP);
  if (cidrGroupSelector) {
    const selector = readSelector(cidrGroupSelector, `${path}.cidrGroupSelector`, report);
    return selector && groups.filter(({ labels }) => selector.selects(labels));
  }
  const named = groups.filter(({ name }) => name === cidrGroupRef);
  if (named.length === 0)
    report(
      `${path}.cidrGroupRef`,
      `there is no CiliumCIDRGroup ${JSON.stringify(cidrGroupRef)}: it means nobody until there is`,
      'absent',
    );
  return named;
}

/** What is no range is left out: the API server stores no such group. */
function groupPeers({ name, cidrs }: WorldAddressSet, except: readonly Cidr[]): Peer[] {
  const ranges = cidrs.map(tryParseCidr).filter((range) => range !== undefined);
  if (ranges.length === 0) return [];
  const left = except.length === 0 ? [] : [not(anyOf(except.map((range) => blockPeer(range, []))))];
  return [allOf([setPeer(`${CIDR_GROUP} ${name}`, ranges), ...left, entityPeer('world')])];
}
