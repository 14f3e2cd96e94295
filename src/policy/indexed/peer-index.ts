/**
 * Finds the sets of peers that may hold for an end without asking all of them: pods by a label that a peer wants,
 * addresses by range. What is found is asked then; plain ranges need no asking.
 */
import { NAMESPACE_NAME } from '../../api/labels.ts';
import type { Labels } from '../../api/selector.ts';
import type { Address } from '../../lib/ip.ts';
import { type BlockPeer, type LeafPeer, leavesOf, type Peer, type PodPeer, rangesOf } from '../peers.ts';
import { labelText } from '../selector.ts';
import { indexRanges, type Ranged } from './ranges.ts';

/** A peer of a set. */
export interface Candidate {
  readonly set: number;
  readonly peer: Peer;
}

export interface PeerIndex {
  /** For any two addresses of a place the same ranges hold. */
  place(address: Address): number;
  place4(value: number): number;
  place6(groups: readonly number[]): number;
  readonly places: number;
  /** Sets of which a plain range holds the place, and what is to be asked of an end there. */
  at(place: number): { readonly held: readonly number[]; readonly ask: readonly Candidate[] };
  /** To be asked of a pod. */
  forPod(namespace: string, labels: Labels): Iterable<Candidate>;
  /** To be asked of every end. */
  readonly forAll: readonly Candidate[];
  /** To be asked of an end with an address of a node, and with one that has a name. */
  readonly forNodes: readonly Candidate[];
  readonly forNames: readonly Candidate[];
}

/** What a range says of a place: it holds, it is an exception, it is worth asking; or only that the place ends there. */
interface Bound {
  readonly candidate: Candidate;
  readonly says: 'holds' | 'except' | 'ask' | 'ends';
}

export function indexPeers(sets: readonly (readonly Peer[] | undefined)[]): PeerIndex {
  const frequency = frequencies(sets);
  const byLabel = new Map<string, Candidate[]>();
  const ranges: Ranged<Bound>[] = [];
  const everywhere = { entity: [], nodes: [], names: [] } as Record<
    'entity' | 'nodes' | 'names',
    Candidate[]
  >;

  function addRanges(candidate: Candidate, block: BlockPeer, [own, others]: Bound['says'][]): void {
    for (const cidr of rangesOf(block)) ranges.push({ cidr, value: { candidate, says: own! } });
    for (const each of block.except) ranges.push({ cidr: each, value: { candidate, says: others! } });
  }
  function add(candidate: Candidate): void {
    const { peer } = candidate;
    if (peer.type === 'block') return addRanges(candidate, peer, ['holds', 'except']);
    for (const anchor of anchorsOf(peer)) {
      if (anchor.type === 'block') addRanges(candidate, anchor, ['ask', 'ends']);
      else if (anchor.type === 'pods') addTo(byLabel, keyOf(anchor, frequency), candidate);
      else everywhere[anchor.type].push(candidate);
    }
    for (const leaf of leavesOf(peer))
      if (leaf.type === 'block') addRanges(candidate, leaf, ['ends', 'ends']);
  }
  for (const [set, peers] of sets.entries()) for (const peer of peers ?? []) add({ set, peer });

  const { place, place4, place6, places, valuesAt } = indexRanges(ranges);
  return {
    place,
    place4,
    place6,
    places,
    at(where) {
      const bounds = Map.groupBy(valuesAt(where), ({ says }) => says);
      const except = new Set(bounds.get('except')?.map(({ candidate }) => candidate));
      const holding = (bounds.get('holds') ?? []).filter(({ candidate }) => !except.has(candidate));
      return {
        held: holding.map(({ candidate }) => candidate.set),
        ask: (bounds.get('ask') ?? []).map(({ candidate }) => candidate),
      };
    },
    *forPod(namespace, labels) {
      const keys = ['', ...Object.entries(labels).map(([key, value]) => labelText(key, value))];
      for (const key of keys) {
        yield* byLabel.get(key) ?? [];
        yield* byLabel.get(inNamespace(namespace, key)) ?? [];
      }
    },
    forAll: everywhere.entity,
    forNodes: everywhere.nodes,
    forNames: everywhere.names,
  };
}

/** An entity stands for whatever has to be asked of every end. */
type Anchor = Exclude<LeafPeer, { type: 'entity' }> | { readonly type: 'entity' };
const ANY: readonly Anchor[] = [{ type: 'entity' }];

/** Leaves of which one holds wherever the peer does. */
function anchorsOf(peer: Peer): readonly Anchor[] {
  switch (peer.type) {
    case 'not':
      return ANY;
    case 'any-of':
      return peer.peers.flatMap(anchorsOf);
    case 'all-of': {
      const parts = peer.peers.map(anchorsOf).filter((part) => !part.some(({ type }) => type === 'entity'));
      return parts.find(([first]) => first?.type === 'pods') ?? parts[0] ?? ANY;
    }
    default:
      return [peer];
  }
}

function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

/** It need not be clear: whatever is found is asked. */
const inNamespace = (namespace: string, key: string): string => `${namespace} ${key}`;

/** The rarest that a pod must have: its namespace, if it is named, and a label. */
function keyOf({ namespace, pods }: PodPeer, frequency: ReadonlyMap<string, number>): string {
  let label = '';
  for (const need of pods.needs ?? [])
    if (label === '' || frequency.get(need)! < frequency.get(label)!) label = need;
  if ('name' in namespace) return inNamespace(namespace.name, label);
  const prefix = labelText(NAMESPACE_NAME, '');
  const named = namespace.selector.needs?.find((need) => need.startsWith(prefix));
  return named === undefined ? label : inNamespace(named.slice(prefix.length), label);
}

/** How many peers want a label. */
function frequencies(sets: readonly (readonly Peer[] | undefined)[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const peers of sets)
    for (const leaf of (peers ?? []).flatMap(leavesOf))
      if (leaf.type === 'pods')
        for (const need of leaf.pods.needs ?? []) counts.set(need, (counts.get(need) ?? 0) + 1);
  return counts;
}
