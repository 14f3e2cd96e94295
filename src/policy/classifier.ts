/**
 * Sorts peers into classes (identities.ts) in a world that changes a little at a time: what is worked out for a group of
 * pods, or an address, stays until its pods, or what the rules ask of peers, change.
 */
import { type Address, bits, formatCidr, tryParseAddress } from '../lib/ip.ts';
import { SharingMap } from '../lib/sharing-map.ts';
import { type Block, nestBlocks, walkNested } from './blocks.ts';
import { createDrafts, type Draft } from './drafts.ts';
import type { Identities, PeerClass } from './identities.ts';
import { addressTerms, hostCidr, podEntities } from './terms.ts';
import { indexPeers } from './indexed/peer-index.ts';
import { namedPortsText } from './named-ports.ts';
import type { RoleDifference } from './endpoints.ts';
import { createTerms, type Peers, type TermDifference, type Terms } from './peer-terms.ts';
import { selectsPod } from './peers.ts';
import { addressTexts, type PodDifference } from './pod-directory.ts';
import { type Alike, type GroupDifference, groupKey, type PodGroup } from './roles.ts';
import type { Places } from './scene.ts';
import type { WorldPod } from './world.ts';

export interface Classifier {
  /** The very same object as before, and the same classes in it, where what they say is the same. */
  classify(change: PeerChange): Identities;
}

export interface PeerChange {
  readonly places: Places;
  /** Undefined: all may differ. */
  readonly pods: PodDifference | undefined;
  readonly groups: GroupDifference;
  /** Of the compiled tables, both directions. */
  readonly roles: RoleDifference;
}

export function createClassifier(): Classifier {
  const terms = createTerms();
  let work: Work | undefined;
  return {
    classify({ places, pods, groups, roles }) {
      const asked = terms.update(roles);
      const some = work && pods && !asked.addresses && !asked.names;
      const known = some ? work!.update({ places, pods, groups, asked }, () => terms.peers()) : undefined;
      if (!known) work = createWork(places, groups.groups, terms, work?.classes ?? new Map());
      return known ?? work!.all();
    },
  };
}

interface Change extends Pick<PeerChange, 'places' | 'groups'> {
  readonly pods: PodDifference;
  readonly asked: TermDifference;
}

interface Work {
  /** By text. */
  readonly classes: ReadonlyMap<string, PeerClass>;
  all(): Identities;
  /** Undefined: identities that stay have other numbers now, and all is to be done again. */
  update(change: Change, peers: () => Peers): Identities | undefined;
}

/** What holds for the pods of a group. */
interface GroupState {
  readonly alike: Alike;
  /** Texts of pod terms. */
  readonly held: ReadonlySet<string>;
  /** By what ranges say of the address, then by what port names mean. */
  readonly drafts: Map<readonly string[], PlaceState>;
}

interface PlaceState {
  readonly terms: readonly string[];
  readonly drafts: Map<string, Draft>;
}

function createWork(
  first: Places,
  groups: readonly PodGroup[],
  terms: Terms,
  former: ReadonlyMap<string, PeerClass>,
): Work {
  let places = first;
  let peers = terms.peers();
  let find = createTermFinder(peers);
  const drafts = createDrafts(former);
  const blocks = nestBlocks(withTwins(addressTerms(places, peers), terms.twins()));
  const entities = podEntities(peers);
  const byRange = new Map(
    blocks.ranges.map(({ terms }) => [terms, drafts.hold(drafts.of(terms, new Map()))]),
  );
  const states = new Map<string, GroupState>(groups.map(({ alike }) => [alike.key, stateOf(alike)]));
  const byAddress = new Map<string, Draft>();
  const base = new Map<string, number>();
  let prefixes = SharingMap.of<string, number>();
  let epoch = 0;
  let last: Identities | undefined;

  function stateOf(alike: Alike): GroupState {
    return { alike, held: new Set(find(places, alike)), drafts: new Map() };
  }

  function draftOf(pod: WorldPod, address: Address): Draft {
    const state = states.get(groupKey(pod))!;
    const within = blocks.match(address);
    let place = state.drafts.get(within);
    if (!place) {
      const terms = [...new Set([...state.held, ...entities, ...within])].sort();
      place = { terms, drafts: new Map() };
      state.drafts.set(within, place);
    }
    const named = peers.names(place.terms, pod);
    const text = namedPortsText(named);
    const draft = place.drafts.get(text) ?? drafts.of(place.terms, named);
    place.drafts.set(text, draft);
    return draft;
  }

  /** Who has the addresses now, and of which class that is. */
  function settle(addresses: Iterable<string>): void {
    for (const text of addresses) {
      const was = byAddress.get(text);
      const address = tryParseAddress(text);
      const owner = address && places.podAt(text);
      // First what comes: a class that stays is never gone in between.
      if (owner) byAddress.set(text, drafts.hold(draftOf(owner, address)));
      else byAddress.delete(text);
      if (was) drafts.drop(was);
    }
  }

  const rangeIdentity = (terms: readonly string[]): number => {
    const draft = byRange.get(terms);
    return draft ? drafts.identity(draft) : 0;
  };
  /** A pod's own prefix replaces a range of that address alone; it is left out where what is around says the same. */
  function prefixOf(
    text: string,
  ): { readonly prefix: string; readonly identity: number | undefined } | undefined {
    const address = tryParseAddress(text);
    if (!address) return undefined;
    const prefix = formatCidr(hostCidr(address));
    const draft = byAddress.get(text);
    if (!draft) return { prefix, identity: base.get(prefix) };
    const identity = drafts.identity(draft);
    const around = rangeIdentity(blocks.match(address, bits(address.family) - 1));
    return { prefix, identity: identity === around ? undefined : identity };
  }

  function writePrefixes(addresses: Iterable<string>): void {
    prefixes = prefixes.with(
      Iterator.from(addresses)
        .map(prefixOf)
        .filter((each) => each !== undefined)
        .map(({ prefix, identity }) => [prefix, identity] as const),
    );
  }

  function identities(): Identities {
    const classes = drafts.classes();
    if (last?.prefixes !== prefixes || last.classes !== classes) last = { prefixes, classes };
    return last;
  }

  /** Returns the groups for whose pods other terms hold now. */
  function changeTerms({ come, gone }: TermDifference['pods']): ReadonlySet<string> {
    const dirty = new Set<string>();
    for (const [key, { alike, held }] of states) {
      const left = gone.filter((text) => held.has(text));
      const joined = come.filter((term) => selectsPod(places, term, alike));
      if (left.length + joined.length === 0) continue;
      const next = new Set(held).difference(new Set(left)).union(new Set(joined.map(({ text }) => text)));
      states.set(key, { alike, held: next, drafts: new Map() });
      dirty.add(key);
    }
    return dirty;
  }

  function changeGroups({ gone, come }: GroupDifference): void {
    const staying = new Set(come.map(({ key }) => key));
    for (const { key } of gone) if (!staying.has(key)) states.delete(key);
    for (const { key, alike } of come) {
      const known = states.get(key);
      states.set(key, known ? { ...known, alike } : stateOf(alike));
    }
  }

  return {
    classes: drafts.byText,
    all() {
      settle(new Set(places.pods.flatMap(addressTexts)));
      epoch = drafts.epoch();
      walkNested(
        blocks.ranges.map(({ cidr, terms }) => ({ cidr, identity: rangeIdentity(terms) })),
        ({ cidr, identity }, around) => {
          if (identity !== (around?.identity ?? 0)) base.set(formatCidr(cidr), identity);
        },
      );
      prefixes = SharingMap.of(base);
      writePrefixes(byAddress.keys());
      return identities();
    },
    update(change, peersNow) {
      places = change.places;
      const { pods, groups, asked } = change;
      const isAsked = asked.pods.come.length + asked.pods.gone.length > 0;
      if (isAsked) {
        peers = peersNow();
        find = createTermFinder(peers);
      }
      const dirty = isAsked ? changeTerms(asked.pods) : new Set<string>();
      changeGroups(groups);
      const addresses = new Set(pods.addresses);
      for (const key of dirty)
        for (const pod of states.get(key)?.alike.pods ?? [])
          for (const text of addressTexts(pod)) addresses.add(text);
      settle(addresses);
      if (drafts.epoch() !== epoch) return undefined;
      writePrefixes(addresses);
      return identities();
    },
  };
}

/** One term for all that stand in the same rules. */
function withTwins(all: Map<string, Block>, twins: ReadonlyMap<string, string>): Map<string, Block> {
  const ranges = Map.groupBy(twins, ([, first]) => first);
  for (const [first, own] of ranges)
    all.set(first, { ranges: own.flatMap(([text]) => all.get(text)!.ranges), except: [] });
  for (const [text, first] of twins) if (text !== first) all.delete(text);
  return all;
}

/** Which pod terms hold for pods that are alike. */
function createTermFinder(peers: Peers): (places: Places, alike: Alike) => string[] {
  const terms = [...peers.pods.values()];
  const index = indexPeers(terms.map((term) => [term]));
  return (places, alike) =>
    [...index.forPod(alike.namespace, alike.labels)].flatMap(({ set }) =>
      selectsPod(places, terms[set]!, alike) ? [terms[set]!.text] : [],
    );
}
