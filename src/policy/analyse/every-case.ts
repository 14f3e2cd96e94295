/**
 * Verdicts of a role in every case that its rules tell apart: whatever holds of a peer, whatever a request matches. Cases
 * that cannot be are among them where nothing shows it, so that what holds in all of these holds.
 */
import { contains } from '../../lib/ip.ts';
import { createFlattener, type Role } from '../build-table.ts';
import type { PortEntry } from '../entries.ts';
import type { PeerClass } from '../identities.ts';
import type { PortMatch, Rule } from '../model.ts';
import { namesIn } from '../named-ports.ts';
import type { Numbering } from '../numbering.ts';
import { type BlockPeer, leavesOf, type LeafPeer, type PodPeer, rangesOf } from '../peers.ts';
import type { RequestMatch } from '../request.ts';
import { mayMeet } from './same-ports.ts';
import { IN_CLUSTER, ON_NODE, termsOf } from '../terms.ts';
import { requestsText } from '../words.ts';

/** Of terms, and of texts of requests: cases are two to the power of each. */
const MOST_TERMS = 8;
const MOST_REQUESTS = 4;
/** Of cases, times pairs of rules that speak of ports in common: that many rules are read. */
const MOST_READ = 500_000;

export interface Case {
  readonly peer: PeerClass;
  /** Texts of matches that a request matches; undefined: the connection. */
  readonly request: ReadonlySet<string> | undefined;
}

/** Undefined: it asks for more than cases say, or there are too many. */
export function casesOf(role: Role): readonly Case[] | undefined {
  if (role.audited !== undefined || !role.rules.every(isSaid) || hasMixedRuns(role)) return undefined;
  // A name means something else at each peer.
  if (role.direction === 'egress' && role.rules.some((rule) => namesIn(rule).length > 0)) return undefined;
  const peers = role.rules.flatMap((rule) => rule.peers ?? []);
  const terms = [...new Set(peers.flatMap(termsOf))];
  const texts = [...new Set(role.rules.flatMap(({ l7 = [] }) => l7.map(textOf)))];
  if (terms.length > MOST_TERMS || texts.length > MOST_REQUESTS) return undefined;
  const isPossible = possible(peers.flatMap(leavesOf));
  const known = subsetsOf(terms).filter(isPossible);
  const pairs = role.rules.reduce((n, a) => n + role.rules.filter((b) => mayMeet(a, b)).length, 0);
  if (pairs * 2 ** (terms.length + texts.length) > MOST_READ) return undefined;
  const requests = texts.length === 0 ? [undefined] : [undefined, ...subsetsOf(texts)];
  return known.flatMap((holding) => {
    const peer: PeerClass = { identity: 0, terms: holding, named: new Map() };
    return requests.map((request) => ({ peer, request }));
  });
}

const isSaid = ({ auth, sourcePorts, ports }: Rule): boolean =>
  !auth && !sourcePorts && (ports === null || !ports.some(isMessage));

/** Tables do not tell messages of ICMP apart. */
export const isMessage = (port: PortMatch): boolean =>
  'protocol' in port && port.protocol === 'ICMP' && 'type' in port && port.type !== undefined;

/** Rules for requests add up with those of their place alone: another kind of rule among them would end that. */
const hasMixedRuns = ({ rules }: Role): boolean =>
  rules.some(
    (rule) =>
      rule.l7 &&
      !rule.onward &&
      rules.some(
        (other) => other.tier === rule.tier && other.priority === rule.priority && other.verdict !== 'allow',
      ),
  );

function subsetsOf(texts: readonly string[]): ReadonlySet<string>[] {
  return Array.from(
    { length: 2 ** texts.length },
    (_, bits) => new Set(texts.filter((_text, i) => (bits >> i) & 1)),
  );
}

/** Whether a peer may be so, as far as the words of the leaves show it. */
function possible(leaves: readonly LeafPeer[]): (holding: ReadonlySet<string>) => boolean {
  const pods = leaves.filter((leaf) => leaf.type === 'pods');
  const blocks = leaves.filter((leaf) => leaf.type === 'block');
  const implied = pods.flatMap((a) =>
    pods.filter((b) => impliesPods(a, b)).map((b) => [a.text, b.text] as const),
  );
  const within = blocks.flatMap((a) =>
    blocks.filter((b) => isWithin(a, b)).map((b) => [a.text, b.text] as const),
  );
  const asksCluster = leaves.some(({ type }) => type === 'entity');
  return (holding) => {
    const isPod = pods.some(({ text }) => holding.has(text));
    if (holding.has(ON_NODE) && isPod) return false;
    if (asksCluster && (holding.has(ON_NODE) || isPod) && !holding.has(IN_CLUSTER) && termsInclude(leaves))
      return false;
    return [...implied, ...within].every(([a, b]) => !holding.has(a) || holding.has(b));
  };
}

/** Whether being in the cluster is a term of theirs. */
const termsInclude = (leaves: readonly LeafPeer[]): boolean =>
  leaves.some((leaf) => termsOf(leaf).includes(IN_CLUSTER));

/** All that `a` picks is picked by `b`, as far as their words show it. */
export function impliesPods(a: PodPeer, b: PodPeer): boolean {
  const inPods = b.pods.text === '*' || b.pods.text === a.pods.text;
  if (!inPods || (b.accounts && b.text !== a.text)) return false;
  if ('selector' in b.namespace && b.namespace.selector.text === '*') return true;
  if ('name' in b.namespace) return 'name' in a.namespace && a.namespace.name === b.namespace.name;
  return 'selector' in a.namespace && a.namespace.selector.text === b.namespace.selector.text;
}

const isWithin = (a: BlockPeer, b: BlockPeer): boolean =>
  a !== b &&
  b.except.length === 0 &&
  rangesOf(a).every((inner) =>
    rangesOf(b).some((outer) => outer.length <= inner.length && contains(outer, inner)),
  );

const textOf = (match: RequestMatch): string =>
  `${match.type} ${JSON.stringify(match)} ${requestsText([match])}`;

/** What the role would let pass without some of its rules, in a case. */
export function createReader(
  role: Role,
  rules: readonly Rule[],
  numbering: Numbering,
): (each: Case) => readonly PortEntry[] {
  const flatteners = new Map<string, (peer: PeerClass) => PortEntry[]>();
  return ({ peer, request }) => {
    const key = request ? [...request].sort().join('\n') : '-';
    const known =
      flatteners.get(key) ??
      createFlattener({ ...role, rules: request ? asAsked(rules, request) : rules }, numbering);
    flatteners.set(key, known);
    return known(peer);
  };
}

/** As if rules said it of connections: what a request matches is allowed, and what none of its place matches is denied. */
function asAsked(rules: readonly Rule[], request: ReadonlySet<string>): Rule[] {
  const list: Rule[] = [];
  const missed = new Map<string, Rule[]>();
  const placeOf = ({ tier, priority }: Rule): string => `${tier} ${priority}`;
  for (const [i, rule] of rules.entries()) {
    const { l7, onward, ...plain } = rule;
    if (!l7 || l7.some((match) => request.has(textOf(match)))) list.push(plain);
    else if (!onward) {
      const place = missed.get(placeOf(rule)) ?? [];
      missed.set(placeOf(rule), [...place, { ...plain, verdict: 'deny' }]);
    }
    const next = rules[i + 1];
    if (!next || placeOf(next) !== placeOf(rule)) list.push(...(missed.get(placeOf(rule)) ?? []));
  }
  return list;
}
