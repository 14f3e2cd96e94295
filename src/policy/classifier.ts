/**
 * Sorts peers into classes (identities.ts) in a world that changes a little at a time: what is worked out for a group of
 * pods, a range or an address stays until its pods, or what the rules ask of it, change.
 */
import { type Address, formatCidr, tryParseAddress } from '../lib/ip.ts';
import { SharingMap } from '../lib/sharing-map.ts';
import { type AddressList, createAddressList } from './address-list.ts';
import { createDrafts, type Draft } from './drafts.ts';
import type { RoleDifference } from './endpoints.ts';
import type { Identities, PeerClass } from './identities.ts';
import { indexPeers } from './indexed/peer-index.ts';
import type { Rule } from './model.ts';
import { hasName, namedPortsText, namingOf } from './named-ports.ts';
import { createTerms, isAny, type Peers, type TermDifference, type Terms } from './peer-terms.ts';
import { selectsPod } from './peers.ts';
import { addressTexts, type PodDifference } from './pod-directory.ts';
import type { Span } from './nested-ranges.ts';
import { createRangeClasses, type Numbered } from './range-classes.ts';
import { withTwins } from './range-twins.ts';
import { type Alike, type GroupDifference, groupKey, type PodGroup } from './roles.ts';
import type { Places } from './scene.ts';
import { addressTerms, blockOf, hostCidr, podEntities } from './terms.ts';
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
      const some = work && pods && !asked.isAnew;
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
  readonly drafts: WeakMap<readonly string[], PlaceState>;
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
  const ranges = createRangeClasses(drafts);
  const entities = podEntities(peers);
  const states = new Map<string, GroupState>(groups.map(({ alike }) => [alike.key, stateOf(alike)]));
  const byAddress = new Map<string, Draft>();
  /** The same addresses, once they are asked for by range. */
  let inOrder: AddressList | undefined;
  let prefixes = SharingMap.of<string, number>();
  let epoch = 0;
  let last: Identities | undefined;

  function stateOf(alike: Alike): GroupState {
    return { alike, held: new Set(find(places, alike)), drafts: new WeakMap() };
  }

  function draftOf(pod: WorldPod, address: Address): Draft {
    const state = states.get(groupKey(pod))!;
    const within = ranges.termsAt(address);
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
      if (owner && !was) inOrder?.add(text);
      if (was && !owner) inOrder?.delete(text);
    }
  }

  /** A pod's own prefix replaces a range of that address alone; it is left out where what is around says the same. */
  function prefixOf(
    text: string,
  ): { readonly prefix: string; readonly identity: number | undefined } | undefined {
    const address = tryParseAddress(text);
    if (!address) return undefined;
    const prefix = formatCidr(hostCidr(address));
    const draft = byAddress.get(text);
    if (!draft) return { prefix, identity: ranges.identity(prefix) };
    const identity = drafts.identity(draft);
    return { prefix, identity: identity === ranges.around(address) ? undefined : identity };
  }

  function writePrefixes(addresses: ReadonlySet<string>, numbered: Numbered): void {
    const own = Iterator.from(addresses.union(new Set(numbered.addresses)))
      .map(prefixOf)
      .filter((each) => each !== undefined)
      .map(({ prefix, identity }) => [prefix, identity] as const);
    prefixes = prefixes.with([...numbered.prefixes, ...own]);
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
      const left = gone.filter(({ text }) => held.has(text));
      const joined = come.filter((term) => selectsPod(places, term, alike));
      if (left.length + joined.length === 0) continue;
      const next = held.difference(textsOf(left)).union(textsOf(joined));
      states.set(key, { alike, held: next, drafts: new WeakMap() });
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

  /** Addresses of pods at which port names of these rules may mean something. */
  function* named(rules: readonly Rule[]): Generator<string> {
    const { names, always, terms } = namingOf(rules);
    for (const { alike, held } of states.values())
      if (always || terms.some((term) => held.has(term)))
        for (const pod of alike.pods) if (hasName(pod, names)) yield* addressTexts(pod);
    for (const term of terms) yield* within(ranges.rangesOf(term));
  }

  function* within(spans: readonly Span[]): Generator<string> {
    if (spans.length === 0) return;
    inOrder ??= createAddressList(byAddress.keys());
    for (const span of spans) yield* inOrder.within(span);
  }

  return {
    classes: drafts.byText,
    all() {
      const asked = ranges.change([], withTwins(addressTerms(places, peers), terms.twins()));
      settle(new Set(places.pods.flatMap(addressTexts)));
      epoch = drafts.epoch();
      writePrefixes(new Set(byAddress.keys()), ranges.number(asked));
      return identities();
    },
    update(change, peersNow) {
      places = change.places;
      const { pods, groups, asked } = change;
      if (isAny(asked.pods) || isAny(asked.names)) peers = peersNow();
      if (isAny(asked.pods)) find = createTermFinder(peers);
      const dirty = isAny(asked.pods) ? changeTerms(asked.pods) : new Set<string>();
      changeGroups(groups);
      const { gone, come } = asked.addresses;
      const around = ranges.change(
        textsOf(gone),
        come.map((leaf) => [leaf.text, blockOf(places, leaf)!] as const),
      );
      const addresses = new Set(pods.addresses);
      for (const key of dirty)
        for (const pod of states.get(key)?.alike.pods ?? [])
          for (const text of addressTexts(pod)) addresses.add(text);
      for (const text of within(around.spans)) addresses.add(text);
      for (const text of named([...asked.names.gone, ...asked.names.come])) addresses.add(text);
      settle(addresses);
      if (drafts.epoch() !== epoch) return undefined;
      writePrefixes(addresses, ranges.number(around));
      return identities();
    },
  };
}

const textsOf = (each: readonly { readonly text: string }[]): ReadonlySet<string> =>
  new Set(each.map(({ text }) => text));

/** Which pod terms hold for pods that are alike. */
function createTermFinder(peers: Peers): (places: Places, alike: Alike) => string[] {
  const terms = [...peers.pods.values()];
  const index = indexPeers(terms.map((term) => [term]));
  return (places, alike) =>
    [...index.forPod(alike.namespace, alike.labels)].flatMap(({ set }) =>
      selectsPod(places, terms[set]!, alike) ? [terms[set]!.text] : [],
    );
}
