/**
 * Sorts every possible peer into classes: two peers are of one class if and only if the same peer terms of the
 * compiled rules hold for them, and egress port names mean the same ports on them. A class has an identity.
 */
import { type Address, type Cidr, formatCidr, tryParseAddress } from '../lib/ip.ts';
import { nestBlocks, type Place, walkNested } from './blocks.ts';
import type { BlockPeer, PodPeer, Rule } from './model.ts';
import { egressNames, type NamedPorts, namedPortsText } from './named-ports.ts';
import { assignNumbers } from './numbers.ts';
import type { PodGroup } from './roles.ts';
import { canonical, type Scene } from './scene.ts';
import { podKey, type WorldPod } from './world.ts';

export interface PeerClass {
  readonly identity: number;
  /** Texts of the peer terms that hold. */
  readonly terms: ReadonlySet<string>;
  /** What the port names of egress rules mean at this peer. */
  readonly named: NamedPorts;
}

export interface Identities {
  readonly prefixes: Map<string, number>;
  /** All classes but that of identity 0, ordered by identity. */
  readonly classes: readonly PeerClass[];
}

/** Rules of the compiled tables, both directions. */
export function classify(scene: Scene, groups: readonly PodGroup[], rules: readonly Rule[]): Identities {
  const terms = collectTerms(rules);
  const names = egressNames(rules);
  const blocks = nestBlocks(terms.blocks);
  const drafts = new Map<string, Draft>();
  const draft = (terms: readonly string[], named: NamedPorts): Draft => {
    const text = `${terms.join(' | ')} # ${namedPortsText(named)}`;
    const known = drafts.get(text) ?? { text, terms: new Set(terms), named };
    drafts.set(text, known);
    return known;
  };
  const places: Place<Draft>[] = blocks.ranges.map(({ cidr, terms }) => ({
    cidr,
    value: draft(terms, new Map()),
  }));
  for (const group of groups) {
    const held = podTerms(scene, terms.pods, group);
    const withBlocks = memoize((within: readonly string[]) => [...held, ...within].sort());
    for (const pod of group.pods)
      for (const address of uniqueAddresses(scene, pod)) {
        const all = withBlocks(blocks.match(address));
        places.push({ cidr: hostCidr(address), value: draft(all, names(all, pod)) });
      }
  }
  return number(places, drafts);
}

interface Draft {
  readonly text: string;
  readonly terms: ReadonlySet<string>;
  readonly named: NamedPorts;
}

function number(places: Place<Draft>[], drafts: ReadonlyMap<string, Draft>): Identities {
  const isNobody = ({ terms, named }: Draft) => terms.size === 0 && named.size === 0;
  const real = [...drafts.values()].filter((draft) => !isNobody(draft));
  const numbers = assignNumbers(real.map((draft) => draft.text));
  const identityOf = (draft: Draft): number => (isNobody(draft) ? 0 : numbers.get(draft.text)!);
  const classes = real.map((draft) => ({
    identity: identityOf(draft),
    terms: draft.terms,
    named: draft.named,
  }));
  const prefixes = new Map<string, number>();
  for (const { cidr, value } of withoutRepeats(
    places.map((p) => ({ cidr: p.cidr, value: identityOf(p.value) })),
  ))
    prefixes.set(formatCidr(cidr), value);
  return { prefixes, classes: classes.sort((a, b) => a.identity - b.identity) };
}

/** Drops each prefix that says what the nearest prefix around it says already. */
function withoutRepeats(places: Place<number>[]): Place<number>[] {
  // A pod's own prefix comes after a block of the same range, and replaces it.
  const last = new Map(places.map((place) => [formatCidr(place.cidr), place]));
  const kept: Place<number>[] = [];
  walkNested([...last.values()], (place, around) => {
    if (place.value !== (around?.value ?? 0)) kept.push(place);
  });
  return kept;
}

function collectTerms(rules: readonly Rule[]) {
  const pods = new Map<string, PodPeer>();
  const blocks = new Map<string, BlockPeer>();
  for (const rule of rules)
    for (const peer of rule.peers ?? []) {
      if (peer.type === 'block') blocks.set(peer.text, peer);
      else pods.set(peer.text, peer);
    }
  return { pods, blocks };
}

function podTerms(scene: Scene, terms: ReadonlyMap<string, PodPeer>, group: PodGroup): string[] {
  const namespaceLabels = scene.namespaceLabels(group.namespace);
  const held: string[] = [];
  for (const [text, { namespace, pods }] of terms) {
    const inNamespace =
      'name' in namespace ? namespace.name === group.namespace : namespace.selector.selects(namespaceLabels);
    if (inNamespace && pods.selects(group.labels)) held.push(text);
  }
  return held;
}

/** Addresses that mean this pod. */
function uniqueAddresses(scene: Scene, pod: WorldPod): Address[] {
  return pod.addresses
    .filter((text) => {
      const owner = scene.podAt(canonical(text));
      return owner !== undefined && podKey(owner) === podKey(pod);
    })
    .map(tryParseAddress)
    .filter((address) => address !== undefined);
}

const hostCidr = (address: Address): Cidr => ({ ...address, length: address.family === 4 ? 32 : 128 });

function memoize<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    const value = known.get(key) ?? compute(key);
    known.set(key, value);
    return value;
  };
}
