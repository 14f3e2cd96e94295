/**
 * Whom a rule speaks of: leaves, and expressions over them. What holds for a peer is found out once per leaf, so that
 * peers for which the same leaves hold are alike (identities.ts).
 */
import type { Labels } from '../api/selector.ts';
import { type Cidr, formatCidr } from '../lib/ip.ts';
import { fingerprint, shortened } from './numbers.ts';
import type { Selector } from './selector.ts';

export type Peer = LeafPeer | CompoundPeer;
export type LeafPeer = PodPeer | BlockPeer | NodePeer | EntityPeer | NamePeer;
export type CompoundPeer = AllOfPeer | AnyOfPeer | NotPeer;

/** Pods by their labels, those of their namespace, and their service account. */
export interface PodPeer {
  readonly type: 'pods';
  readonly namespace: { readonly name: string } | { readonly selector: Selector };
  readonly pods: Selector;
  /** Absent = every one. */
  readonly accounts?: AccountMatch;
  /** Equal texts match the same peers. */
  readonly text: string;
}

/** Service accounts of the pod's namespace, by name and by label; both must hold. */
export interface AccountMatch {
  readonly names?: readonly string[];
  readonly labels?: Selector;
}

/** Addresses by range, whosoever they are: a pod's own address counts. */
export interface BlockPeer {
  readonly type: 'block';
  readonly cidr: Cidr;
  /** More ranges under the same text: a set of thousands is one thing to ask of an address. */
  readonly others?: readonly Cidr[];
  readonly except: readonly Cidr[];
  readonly text: string;
}

/** Addresses of nodes by the labels of the nodes, and so pods on their network. */
export interface NodePeer {
  readonly type: 'nodes';
  readonly nodes: Selector;
  readonly text: string;
}

/**
 * `world`: what is no pod and no node. `cluster`: any pod or node. `host`: the pod's own node, which is always allowed:
 * no rule is asked about it. `remote-node`: any other node. `all`: everything.
 */
export type Entity = 'world' | 'cluster' | 'host' | 'remote-node' | 'all';

export interface EntityPeer {
  readonly type: 'entity';
  readonly entity: Entity;
  readonly text: string;
}

/** Addresses that `World.names` has for a name that one of the patterns matches. */
export interface NamePeer {
  readonly type: 'names';
  readonly patterns: readonly NamePattern[];
  readonly text: string;
}

/** Of domain names in lower case, without the last dot. */
export interface NamePattern {
  readonly matches: (name: string) => boolean;
  /** Equal texts match the same names. */
  readonly text: string;
}

/** Without peers: everything. */
export interface AllOfPeer {
  readonly type: 'all-of';
  readonly peers: readonly Peer[];
  readonly text: string;
}

/** Without peers: nothing. */
export interface AnyOfPeer {
  readonly type: 'any-of';
  readonly peers: readonly Peer[];
  readonly text: string;
}

export interface NotPeer {
  readonly type: 'not';
  readonly peer: Peer;
  readonly text: string;
}

export function podPeer(namespace: PodPeer['namespace'], pods: Selector, accounts?: AccountMatch): PodPeer {
  const where = 'name' in namespace ? `in ${namespace.name}` : `where ${namespace.selector.text}`;
  const as = accounts ? ` as ${accountsText(accounts)}` : '';
  return {
    type: 'pods',
    namespace,
    pods,
    ...(accounts ? { accounts } : {}),
    text: `pods ${where} / ${pods.text}${as}`,
  };
}

/** `web|api & tier=front` */
export const accountsText = ({ names, labels }: AccountMatch): string =>
  [...(names ? [[...new Set(names)].sort().join('|')] : []), ...(labels ? [labels.text] : [])].join(' & ');

export function blockPeer(cidr: Cidr, except: readonly Cidr[]): BlockPeer {
  const text = `block ${formatCidr(cidr)} except ${except.map(formatCidr).sort().join(',')}`;
  return { type: 'block', cidr, except, text };
}

/** A set of ranges by its name. It is nobody if it is empty. */
export function setPeer(name: string, ranges: readonly Cidr[]): Peer {
  return rangesPeer(ranges, (text) => `set ${name} ${fingerprint(text)}`);
}

/** Any of these ranges, as one thing to ask of an address. It is nobody if there are none. */
export function rangesPeer(
  ranges: readonly Cidr[],
  named = (text: string): string => shortened(`ranges ${text}`),
): Peer {
  const [cidr, ...others] = ranges;
  if (!cidr) return anyOf([]);
  if (others.length === 0) return blockPeer(cidr, []);
  const text = named([...new Set(ranges.map(formatCidr))].sort().join(' '));
  return { type: 'block', cidr, others, except: [], text };
}

export const rangesOf = ({ cidr, others = [] }: BlockPeer): readonly Cidr[] =>
  others.length === 0 ? [cidr] : [cidr, ...others];

export const nodePeer = (nodes: Selector): NodePeer => ({
  type: 'nodes',
  nodes,
  text: `nodes ${nodes.text}`,
});

export const entityPeer = (entity: Entity): EntityPeer => ({
  type: 'entity',
  entity,
  text: `entity ${entity}`,
});

export function namePeer(patterns: readonly NamePattern[]): NamePeer {
  const text = [...new Set(patterns.map((pattern) => pattern.text))].sort().join(',');
  return { type: 'names', patterns, text: `names ${text}` };
}

export const allOf = (peers: readonly Peer[]): AllOfPeer => ({
  type: 'all-of',
  peers,
  text: `all-of(${textsOf(peers)})`,
});

export const anyOf = (peers: readonly Peer[]): AnyOfPeer => ({
  type: 'any-of',
  peers,
  text: `any-of(${textsOf(peers)})`,
});

export const not = (peer: Peer): NotPeer => ({ type: 'not', peer, text: `not ${peer.text}` });

/** A range that never means a pod or a node of the cluster. */
export const outsideBlock = (cidr: Cidr, except: readonly Cidr[]): AllOfPeer =>
  allOf([blockPeer(cidr, except), entityPeer('world')]);

/** With lengths: texts of selectors may hold whatever stands between them here. */
const textsOf = (peers: readonly Peer[]): string =>
  [...new Set(peers.map(({ text }) => text))]
    .sort()
    .map((text) => `${text.length}:${text}`)
    .join(' ');

/** What selectors see of a pod, and of pods that nothing tells apart. */
export interface Selectable {
  readonly namespace: string;
  readonly labels: Labels;
  /** Absent = `default`. */
  readonly serviceAccount?: string | undefined;
}

/** Labels of what pods belong to. */
export interface Belongings {
  namespaceLabels(name: string): Labels;
  accountLabels(namespace: string, name: string): Labels;
}

export function selectsPod(of: Belongings, peer: PodPeer, pod: Selectable): boolean {
  const { namespace, pods, accounts } = peer;
  const inNamespace =
    'name' in namespace
      ? namespace.name === pod.namespace
      : namespace.selector.selects(of.namespaceLabels(pod.namespace));
  return inNamespace && pods.selects(pod.labels) && hasAccount(of, accounts, pod);
}

export const accountOf = ({ serviceAccount }: Selectable): string =>
  serviceAccount === undefined || serviceAccount === '' ? 'default' : serviceAccount;

export function hasAccount(of: Belongings, accounts: AccountMatch | undefined, pod: Selectable): boolean {
  if (!accounts) return true;
  const { names, labels } = accounts;
  const name = accountOf(pod);
  if (names && !names.includes(name)) return false;
  return labels === undefined || labels.selects(of.accountLabels(pod.namespace, name));
}

/** Whether a peer holds, by what is said of its leaves. Linear in its size. */
export function holdsPeer(peer: Peer, leafHolds: (leaf: LeafPeer) => boolean): boolean {
  switch (peer.type) {
    case 'all-of':
      return peer.peers.every((each) => holdsPeer(each, leafHolds));
    case 'any-of':
      return peer.peers.some((each) => holdsPeer(each, leafHolds));
    case 'not':
      return !holdsPeer(peer.peer, leafHolds);
    default:
      return leafHolds(peer);
  }
}

export function leavesOf(peer: Peer): readonly LeafPeer[] {
  if (peer.type === 'not') return leavesOf(peer.peer);
  return peer.type === 'all-of' || peer.type === 'any-of' ? peer.peers.flatMap(leavesOf) : [peer];
}

export const isLeaf = (peer: Peer): peer is LeafPeer =>
  peer.type !== 'all-of' && peer.type !== 'any-of' && peer.type !== 'not';
