/**
 * Sorts every possible peer into classes: two peers are of one class if and only if the same peer terms of the
 * compiled rules hold for them, and egress port names mean the same ports on them. A class has an identity.
 */
import { type Address, formatCidr, tryParseAddress } from '../lib/ip.ts';
import { createTerms, type Peers } from './peer-terms.ts';
import { nestBlocks, type Place, walkNested } from './blocks.ts';
import type { Role } from './build-table.ts';
import { compareText } from './model.ts';
import { type NamedPorts, namedPortsText } from './named-ports.ts';
import { assignNumbers } from './numbers.ts';
import { type PodPeer, selectsPod } from './peers.ts';
import type { Alike, PodGroup } from './roles.ts';
import { canonical, type Places } from './scene.ts';
import { addressTerms, hostCidr, podEntities } from './terms.ts';
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

export interface Classifier {
  /**
   * Roles of the compiled tables, both directions. The very same object as before where neither the places nor the
   * groups nor what the rules ask of peers have changed.
   */
  classify(places: Places, groups: readonly PodGroup[], roles: ReadonlySet<Role>): Identities;
}

export function createClassifier(): Classifier {
  const holders = createHolders();
  const terms = createTerms();
  let last: { places: Places; identities: Identities } | undefined;
  return {
    classify(places, groups, roles) {
      const isSame = !terms.update(roles);
      if (last?.places === places && isSame) return last.identities;
      const alike = groups.map((group) => group.alike);
      const peers = terms.peers();
      const identities = sort(places, holders(places, alike, peers.pods), peers);
      last = { places, identities };
      return identities;
    },
  };
}

/** The pod terms that hold for each group, sorted; asked of a selector once for a group that stays. */
function createHolders() {
  let namespaces: unknown;
  let accounts: unknown;
  let known = new Map<string, Map<Alike, boolean>>();
  return (
    places: Places,
    groups: readonly Alike[],
    terms: ReadonlyMap<string, PodPeer>,
  ): Map<Alike, string[]> => {
    if (namespaces !== places.namespaces || accounts !== places.accounts) known = new Map();
    ({ namespaces, accounts } = places);
    const held = new Map<Alike, string[]>(groups.map((group) => [group, []]));
    const next: typeof known = new Map();
    for (const [text, term] of [...terms].sort(([a], [b]) => compareText(a, b))) {
      const answers = known.get(text);
      const now = new Map<Alike, boolean>();
      for (const group of groups) {
        const holds = answers?.get(group) ?? selectsPod(places, term, group);
        now.set(group, holds);
        if (holds) held.get(group)!.push(text);
      }
      next.set(text, now);
    }
    known = next;
    return held;
  };
}

function sort(scene: Places, groups: ReadonlyMap<Alike, readonly string[]>, peers: Peers): Identities {
  const blocks = nestBlocks(addressTerms(scene, peers));
  const { names } = peers;
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
  for (const [group, held] of groups) {
    const own = [...held, ...podEntities(peers)];
    const withBlocks = memoize((within: readonly string[]) => [...new Set([...own, ...within])].sort());
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

/** Addresses that mean this pod. */
function uniqueAddresses(scene: Places, pod: WorldPod): Address[] {
  return pod.addresses
    .filter((text) => {
      const owner = scene.podAt(canonical(text));
      return owner !== undefined && podKey(owner) === podKey(pod);
    })
    .map(tryParseAddress)
    .filter((address) => address !== undefined);
}

function memoize<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    const value = known.get(key) ?? compute(key);
    known.set(key, value);
    return value;
  };
}
