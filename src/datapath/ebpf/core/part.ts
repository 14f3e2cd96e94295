/** Pods, policy and the overlay of the eBPF data path: who is where, who may, and the programs at the links. */
import type { Netns } from '../../../kernel/netns.ts';
import type { Difference } from '../../backend.ts';
import type { Overlay } from '../../overlay.ts';
import {
  applyChanges,
  type Change,
  emptyState,
  SETTINGS_KEY,
  stateChanges,
  type TableName,
} from '../../plan/tables.ts';
import { sendingLink, TUNNEL_LINKS, tunnelsOf } from '../../routing.ts';
import type { Programs } from '../loader.ts';
import { createMapTable, type MapTable, type Row } from '../map-table.ts';
import type { Part } from '../part.ts';
import { createCopies } from './copies.ts';
import { createLinkPrograms, type NodeLink, type TunnelNow } from './links.ts';
import { type KnownLink, lowerPlaces, PLACES, type PlaceMap, type Surroundings } from './lower.ts';
import { createPolicyRows } from './policy-rows.ts';
import { createRecords } from './records.ts';
import { createSlots, type Slots } from './slots.ts';

export interface CoreDeps {
  readonly programs: Programs;
  /** The node's network namespace. */
  readonly ns: Netns;
  /** In that namespace. */
  readonly route: {
    link(name: string): KnownLink | undefined;
    links(): readonly KnownLink[];
    addresses(): readonly { readonly link: number; readonly address: string }[];
  };
  /** Without it pods of other nodes are reached by routes of somebody else. */
  readonly overlay?: Overlay | undefined;
}

export interface CorePart extends Part {
  readonly slots: Pick<Slots, 'rules'>;
  /**
   * Gives a pod's link its programs before the plan knows the pod, so that nothing passes it: to be called between
   * making the link and setting it up.
   */
  guard(link: NodeLink): void;
}

/** A pod may fill this share of the flow cache at once. */
const BUDGET_SHARE = 8;

/** Tables of the plan that say where pods are; of the others nothing need be remembered here. */
const PLACING: ReadonlySet<TableName> = new Set(['pods', 'routes', 'settings']);

const isGoneRule = ({ table, value }: Change): boolean => table === 'rules' && value === undefined;

export function createCorePart(deps: CoreDeps): CorePart {
  const { programs, route, overlay } = deps;
  const records = createRecords(programs);
  const control = programs.control('generation');
  const generation = {
    get: () => Number(control.get('number')),
    set: (value: number) => control.set('number', value),
  };
  const slots = createSlots({ slots: programs.map('rule_slots'), counters: programs.map('rule_counters') });
  const rows = createPolicyRows(records, (rule) => slots.of(rule));
  const copies = createCopies({
    map: (name) => programs.map(name),
    copyAt: (name) => programs.mapCodecs(name).key.encode({ copy: 1 }).indexOf(1),
    generation,
  });
  const places = Object.fromEntries(
    PLACES.map((name) => [name, createMapTable(programs.map(name), rowText(name))]),
  ) as { [M in PlaceMap]: MapTable };
  const attached = createLinkPrograms(programs, deps.ns);
  let state = emptyState();

  function around(): Surroundings {
    const own = new Set(state.settings.get(SETTINGS_KEY)?.nodeAddresses ?? []);
    const uplinks = route.addresses().filter(({ address }) => own.has(address.split('/')[0] ?? ''));
    const indices = [...new Set(uplinks.map(({ link }) => link))];
    return {
      link: (name) => route.link(name),
      uplinks: indices,
      tunnels: tunnelLinks(),
      sending: sending(indices),
      flowBudget: Math.floor(programs.map('flows4').maxEntries / BUDGET_SHARE),
    };
  }

  const settings = () => state.settings.get(SETTINGS_KEY);

  const tunnelLinks = (): TunnelNow[] =>
    overlay
      ? tunnelsOf(settings()).flatMap((tunnel) => {
          const link = route.link(TUNNEL_LINKS[tunnel]);
          return link ? [{ ...link, isFramed: tunnel !== 'gre' }] : [];
        })
      : [];

  /** The link by which packets go to other nodes; for VXLAN a program says to which by the MAC address. */
  function sending([uplink]: readonly number[]): Surroundings['sending'] {
    if (!overlay) return undefined;
    const name = sendingLink(settings());
    const link = name === undefined ? route.links().find(({ index }) => index === uplink) : route.link(name);
    return link && { link, isAddressed: name === TUNNEL_LINKS.vxlan };
  }

  const changesWay = (change: Change): boolean =>
    change.table === 'settings' && sendingLink(change.value) !== sendingLink(settings());

  /** It sends by the routes that are there while these change: programs name a link, which routes may have left. */
  function leaveToStack(): void {
    const between = lowerPlaces(state, { ...around(), sending: undefined }, records);
    if (places.node_state.become(between.node_state)) judgeAgain();
  }

  /** What was decided by is not what it was: each flow is judged again. */
  const judgeAgain = (): void => generation.set((generation.get() + 2) >>> 0);

  const isPodLink = (name: string): boolean => {
    const prefix = state.settings.get(SETTINGS_KEY)?.podLinks;
    return prefix !== undefined && prefix !== '' && name.startsWith(prefix);
  };

  function podLinks(): NodeLink[] {
    const named = new Set([...state.pods.values()].map((pod) => pod.interface));
    return route.links().filter(({ name }) => named.has(name) || isPodLink(name));
  }

  function attachNew(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.table !== 'pods' || !change.value) continue;
      const link = route.link(change.value.interface);
      if (link) attached.attachPod(link);
    }
  }

  return {
    name: 'core',
    slots,
    guard: (link) => void attached.attachPod(link),
    runs: (program, index) => attached.runs(program, index),
    apply(changes) {
      const own = changes.filter(({ table }) => PLACING.has(table));
      const isPlace = own.length > 0;
      const gone = own.filter(({ table, value }) => table === 'pods' && value === undefined);
      slots.take(rows.rulesOf(changes));
      // Without its policy a pod may do anything, so it goes before that, and comes after it.
      applyChanges(state, gone);
      const wanted = isPlace && gone.length > 0 ? lowerPlaces(state, around(), records) : undefined;
      let moved = wanted
        ? [places.pods.become(wanted.pods), places.links.become(wanted.links)].some(Boolean)
        : false;
      try {
        if (own.some(changesWay)) leaveToStack();
        applyChanges(state, own);
        copies.apply(rows.update(changes));
        overlay?.apply(changes);
        if (changes.some(({ table }) => table === 'settings')) attached.attachTunnels(tunnelLinks());
        if (gone.length > 0) attached.forget(route.links());
        attachNew(changes);
        if (isPlace) {
          const next = lowerPlaces(state, around(), records);
          for (const name of PLACES) moved = places[name].become(next[name]) || moved;
        }
      } finally {
        // What failed is tried again, and may find that nobody has moved since.
        if (moved) judgeAgain();
      }
      slots.release(changes.flatMap((each) => (isGoneRule(each) ? [Number(each.key)] : [])));
    },
    prune(next) {
      state = emptyState();
      const all = stateChanges(next);
      applyChanges(
        state,
        all.filter(({ table }) => PLACING.has(table)),
      );
      slots.load();
      rows.clear();
      slots.take(rows.rulesOf(all));
      const mended: Difference[] = copies.prune(rows.all(all));
      const routes = overlay?.prune(next) ?? [];
      const wanted = lowerPlaces(state, around(), records);
      for (const name of PLACES) mended.push(...places[name].prune(wanted[name]));
      programs.catchUp();
      mended.push(...attached.prune(podLinks(), tunnelLinks()), ...routes);
      programs.catchUp();
      slots.keep(next.rules);
      if (mended.length > 0) judgeAgain();
      return mended;
    },
    verify(next) {
      const wanted = lowerPlaces(next, around(), records);
      return [
        ...copies.verify(createPolicyRows(records, (rule) => slots.of(rule)).all(stateChanges(next))),
        ...PLACES.flatMap((name) => places[name].verify(wanted[name])),
        ...attached.verify(podLinks(), tunnelLinks()),
        ...(overlay?.verify(next) ?? []),
      ];
    },
    remove: () => attached.remove(),
  };
}

const rowText =
  (name: PlaceMap) =>
  ({ key }: Row): string =>
    `${name} ${Buffer.from(key).toString('hex')}`;
