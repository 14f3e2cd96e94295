/** Route filters: the first statement that matches decides, and changes what it lets pass. */
import { bits, contains, firstOf, parseCidr } from '../../lib/ip.ts';
import { firstAs, type PathAttributes, pathHas, prepend } from '../wire/attributes.ts';
import { type AddressFamily, familyOfPrefix } from '../wire/codes.ts';
import type { Source } from './route.ts';

/** `{prefix: 10.0.0.0/8, ge: 16, le: 24}`: what is inside of it and 16 to 24 bits long. Without both: it alone. */
export interface PrefixMatch {
  readonly prefix: string;
  readonly ge?: number;
  /** Default: `ge` given, to the family's end; else the prefix's own length. */
  readonly le?: number;
}

/** All that is said must hold; nothing said matches everything. */
export interface FilterMatch {
  /** Any of them. */
  readonly prefixes?: readonly PrefixMatch[];
  readonly family?: AddressFamily;
  /** Any of them: `65000:100`, or `65000:1:2` for a large one. */
  readonly communities?: readonly string[];
  /** Any of them in the path. */
  readonly asPathContains?: readonly number[];
  /** Any of them nearest to us. */
  readonly neighborAS?: readonly number[];
  /** Any of them where the route began. */
  readonly originAS?: readonly number[];
  readonly maxPathLength?: number;
  readonly sources?: readonly Source[];
}

export interface FilterActions {
  readonly localPref?: number;
  /** `null` takes it away. */
  readonly med?: number | null;
  readonly addCommunities?: readonly string[];
  /** `*` takes all away. */
  readonly removeCommunities?: readonly string[];
  /** Puts this speaker's AS (on import: the peer's) before the path so many times more. */
  readonly prepend?: number;
}

export interface FilterStatement {
  readonly match?: FilterMatch;
  readonly action: 'accept' | 'reject';
  readonly set?: FilterActions;
}

export interface Filter {
  readonly statements: readonly FilterStatement[];
  /** For what no statement matches. Default `reject`. */
  readonly default?: 'accept' | 'reject';
}

export const acceptAll: Filter = { statements: [], default: 'accept' };
export const rejectAll: Filter = { statements: [] };
export const acceptLocal: Filter = { statements: [{ match: { sources: ['local'] }, action: 'accept' }] };

export interface Subject {
  readonly prefix: string;
  readonly attributes: PathAttributes;
  readonly source: Source;
  /** What `prepend` puts before the path. */
  readonly prependAs: number;
}

/** Nothing passes. */
export const rejectsAll = ({ statements, default: otherwise }: Filter): boolean =>
  otherwise !== 'accept' && statements.every(({ action }) => action === 'reject');

/** The attributes to go on with; undefined where the route is rejected. Unchanged attributes are the same object. */
export type CompiledFilter = (subject: Subject) => PathAttributes | undefined;

export function compileFilter(filter: Filter): CompiledFilter {
  const statements = filter.statements.map((statement) => ({
    matches: compileMatch(statement.match ?? {}),
    accept: statement.action === 'accept',
    set: statement.set,
  }));
  return (subject) => {
    const found = statements.find(({ matches }) => matches(subject));
    if (!found) return filter.default === 'accept' ? subject.attributes : undefined;
    if (!found.accept) return undefined;
    return found.set ? change(subject, found.set) : subject.attributes;
  };
}

function compileMatch(match: FilterMatch): (subject: Subject) => boolean {
  const tests: ((subject: Subject) => boolean)[] = [];
  const { family, prefixes, communities, asPathContains, neighborAS, originAS, maxPathLength, sources } =
    match;
  if (family) tests.push(({ prefix }) => familyOfPrefix(prefix) === family);
  if (prefixes) tests.push(anyPrefix(prefixes));
  if (communities) tests.push(({ attributes }) => communities.some((one) => hasCommunity(attributes, one)));
  if (asPathContains)
    tests.push(({ attributes }) => asPathContains.some((as) => pathHas(attributes.asPath, as)));
  if (neighborAS) tests.push(({ attributes }) => neighborAS.includes(firstAs(attributes.asPath) ?? -1));
  if (originAS) tests.push(({ attributes }) => originAS.includes(attributes.asPath.at(-1)?.as.at(-1) ?? -1));
  if (maxPathLength !== undefined)
    tests.push(
      ({ attributes }) => attributes.asPath.reduce((sum, { as }) => sum + as.length, 0) <= maxPathLength,
    );
  if (sources) tests.push(({ source }) => sources.includes(source));
  return (subject) => tests.every((test) => test(subject));
}

function anyPrefix(matches: readonly PrefixMatch[]): (subject: Subject) => boolean {
  const rules = matches.map(({ prefix, ge, le }) => {
    const cidr = parseCidr(prefix);
    const most = le ?? (ge === undefined ? cidr.length : bits(cidr.family));
    return { cidr, least: ge ?? cidr.length, most };
  });
  return ({ prefix }) => {
    const one = parseCidr(prefix);
    return rules.some(
      ({ cidr, least, most }) => one.length >= least && one.length <= most && contains(cidr, firstOf(one)),
    );
  };
}

const isLarge = (community: string) => community.split(':').length === 3;

const hasCommunity = (attributes: PathAttributes, one: string): boolean =>
  (isLarge(one) ? attributes.largeCommunities : attributes.communities)?.includes(one) ?? false;

function change({ attributes, prependAs }: Subject, set: FilterActions): PathAttributes {
  const { localPref, med, addCommunities = [], removeCommunities = [], prepend: times = 0 } = set;
  const { communities = [], largeCommunities = [] } = attributes;
  const changed = (list: readonly string[], large: boolean) => {
    const left = removeCommunities.includes('*')
      ? []
      : list.filter((one) => !removeCommunities.includes(one));
    return [...new Set([...left, ...addCommunities.filter((one) => isLarge(one) === large)])];
  };
  return {
    ...attributes,
    localPref: localPref ?? attributes.localPref,
    med: med === undefined ? attributes.med : (med ?? undefined),
    communities: changed(communities, false),
    largeCommunities: changed(largeCommunities, true),
    asPath: times > 0 ? prepend(attributes.asPath, prependAs, times) : attributes.asPath,
  };
}
