/** Which sets of peers hold for an end. Ends for which the same sets hold have the very same class. */
import { type Address, formatAddress } from '../../lib/ip.ts';
import { peerMatches } from '../decide.ts';
import { accountOf, type Peer } from '../peers.ts';
import { labelsText } from '../roles.ts';
import type { End, Places } from '../scene.ts';
import { type Candidate, indexPeers } from './peer-index.ts';

export interface EndClass {
  /** Ascending. */
  readonly sets: readonly number[];
  /** A bit for each set. */
  readonly bits: Uint32Array;
}

export interface EndClasses {
  of(end: End): EndClass;
  /** For any two addresses of a place the same ranges hold: from 0, of an IPv4 address as a number, or of eight groups. */
  place4(value: number): number;
  place6(groups: readonly number[]): number;
  readonly places: number;
  /** Faster, of an address of nobody that is known. */
  at(place: number, end: End): EndClass;
}

export const holds = ({ bits }: EndClass, set: number): boolean =>
  ((bits[set >> 5]! >>> (set & 31)) & 1) === 1;

export function createEndClasses(scene: Places, sets: readonly (readonly Peer[] | undefined)[]): EndClasses {
  const index = indexPeers(sets);
  const bySets = new Map<string, EndClass>();
  /** By what tells pods apart, then by the place of their address. */
  const ofPods = new Map<string, EndClass>();
  const ofPlaces = Array.from<EndClass | undefined>({ length: index.places });

  function classOf(held: ReadonlySet<number>): EndClass {
    const list = [...held].sort((a, b) => a - b);
    const text = list.join(' ');
    const known = bySets.get(text);
    if (known) return known;
    const bits = new Uint32Array((sets.length + 31) >> 5);
    for (const set of list) bits[set >> 5]! |= 1 << (set & 31);
    const made = { sets: list, bits };
    bySets.set(text, made);
    return made;
  }

  function ask(end: End, place: number | undefined, candidates: Iterable<Candidate>): EndClass {
    const there = place === undefined ? { held: [], ask: [] } : index.at(place);
    const held = new Set(there.held);
    for (const list of [candidates, there.ask, index.forAll])
      for (const { set, peer } of list) if (!held.has(set) && peerMatches(scene, peer, end)) held.add(set);
    return classOf(held);
  }

  const placeOf = (address: Address | undefined) => address && index.place(address);
  /** To be asked because of who has the address, or what it is called. */
  function special({ type, address }: End): readonly Candidate[] | undefined {
    const text = address && formatAddress(address);
    const isNodes = type === 'node' || (text !== undefined && scene.nodesWith(text).length > 0);
    const isNamed = text !== undefined && scene.namesOf(text).length > 0;
    if (!isNodes && !isNamed) return undefined;
    return [...(isNodes ? index.forNodes : []), ...(isNamed ? index.forNames : [])];
  }

  function ofPod(end: End & { type: 'pod' }): EndClass {
    const { namespace, labels } = end.pod;
    const place = placeOf(end.address);
    const candidates = index.forPod(namespace, labels);
    const more = special(end);
    if (more) return ask(end, place, [...candidates, ...more]);
    const key = `${place} ${namespace} ${accountOf(end.pod)} ${labelsText(labels)}`;
    const known = ofPods.get(key) ?? ask(end, place, candidates);
    ofPods.set(key, known);
    return known;
  }

  function ofAddress(end: End): EndClass {
    const place = placeOf(end.address);
    const more = special(end);
    return more || place === undefined ? ask(end, place, more ?? []) : atPlace(place, end);
  }

  return {
    of: (end) => (end.type === 'pod' ? ofPod(end) : ofAddress(end)),
    place4: index.place4,
    place6: index.place6,
    places: index.places,
    at: atPlace,
  };

  function atPlace(place: number, end: End): EndClass {
    const known = ofPlaces[place] ?? ask(end, place, []);
    ofPlaces[place] = known;
    return known;
  }
}
