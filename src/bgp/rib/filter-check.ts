/** Filters as a user wrote them: refused by name where they could never do what they say. */
import { HeddleError } from '../../lib/errors.ts';
import { bits, tryParseCidr } from '../../lib/ip.ts';
import type { Filter, FilterStatement, PrefixMatch } from './filter.ts';

/** @throws HeddleError `BgpFilter`; `where` reads "of the BGP peer tor-1" */
export function checkFilter(filter: Filter, where: string): void {
  for (const [i, statement] of filter.statements.entries())
    checkStatement(statement, `statement ${i + 1} ${where}`);
}

const bad = (message: string) => new HeddleError('BgpFilter', message);

function checkStatement({ match = {}, set = {}, action }: FilterStatement, where: string): void {
  if (action !== 'accept' && action !== 'reject')
    throw bad(`action in ${where} is "${String(action)}", expected accept or reject`);
  for (const prefix of match.prefixes ?? []) checkPrefix(prefix, where);
  for (const community of [
    ...(match.communities ?? []),
    ...(set.addCommunities ?? []),
    ...(set.removeCommunities ?? []),
  ])
    if (community !== '*' || !set.removeCommunities?.includes('*')) checkCommunity(community, where);
  const u32 = (name: string, value: number | null | undefined) => {
    if (typeof value === 'number' && !(Number.isInteger(value) && value >= 0 && value <= 0xffffffff))
      throw bad(`${name} in ${where} is ${value}, expected 0 to 4294967295`);
  };
  u32('localPref', set.localPref);
  u32('med', set.med);
  if (set.prepend !== undefined && !(Number.isInteger(set.prepend) && set.prepend >= 0 && set.prepend <= 50))
    throw bad(`prepend in ${where} is ${set.prepend}, expected 0 to 50`);
}

function checkPrefix({ prefix, ge, le }: PrefixMatch, where: string): void {
  const cidr = tryParseCidr(prefix);
  if (!cidr) throw bad(`prefix "${prefix}" in ${where} is not an address range`);
  const [least, most] = [ge ?? cidr.length, le ?? bits(cidr.family)];
  if (least < cidr.length || most > bits(cidr.family) || least > most)
    throw bad(
      `${prefix} ge ${least} le ${most} in ${where} matches nothing: expected ${cidr.length} <= ge <= le <= ${bits(cidr.family)}`,
    );
}

/** @throws HeddleError `BgpFilter` */
export function checkCommunity(text: string, where: string): void {
  const parts = text.split(':');
  const most = parts.length === 2 ? 0xffff : 0xffffffff;
  const good =
    (parts.length === 2 || parts.length === 3) &&
    parts.every((part) => /^\d{1,10}$/.test(part) && Number(part) <= most);
  if (!good) throw bad(`community "${text}" in ${where}: expected 65000:100, or 65000:1:2 for a large one`);
}
