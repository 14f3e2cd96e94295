/**
 * Link addresses by which pods of other nodes speak where there is no tunnel. nft looks up no neighbours: the kernel is
 * asked for them, and what it knows is written into the table. Whose is not known is not believed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createNodeNeighbours, type NeighbourRoute } from '../neighbours.ts';
import { type Change, type PlanState, SETTINGS_KEY } from '../plan/tables.ts';
import { acceptsNative } from '../routing.ts';

export interface SendersDeps {
  /** rtnetlink of the node's namespace. */
  readonly route: NeighbourRoute & {
    addresses(): readonly { readonly link: number; readonly address: string }[];
  };
  /** Calls `work` again and again until it is told to stop. Absent: who answers late is heard after the next change. */
  every?(seconds: number, work: () => void): () => void;
}

type SenderPlan = Pick<PlanState, 'settings' | 'routes'>;

export interface Senders {
  /** By another node's first address. */
  macOf(owner: string): string | undefined;
  /** Has the kernel ask, and gives those who were not asked before a moment to answer. */
  learn(plan: SenderPlan): Promise<void>;
  /** Names of nodes whose link address is another than it was, by what the kernel knows now. Asks those again who are silent. */
  refresh(plan: SenderPlan): string[];
}

/** For a neighbour on the link it is a thousand times what it takes. */
const ANSWER_MS = 1000;
const TICK_MS = 10;

export function createSenders({ route }: Pick<SendersDeps, 'route'>): Senders {
  const neighbours = createNodeNeighbours(route);
  const known = new Map<string, string>();
  /** Who is asked for each: himself, or the gateway to him. */
  let hops = new Map<string, string>();
  let uplink = 0;

  const uplinkOf = ({ settings }: SenderPlan): number => {
    const own = new Set(settings.get(SETTINGS_KEY)?.nodeAddresses ?? []);
    return route.addresses().find(({ address }) => own.has(address.split('/')[0] ?? ''))?.link ?? 0;
  };

  const ownersOf = ({ settings, routes }: SenderPlan): string[] =>
    acceptsNative(settings.get(SETTINGS_KEY))
      ? [...routes.values()].flatMap(({ addresses }) => addresses.slice(0, 1))
      : [];

  function answers(): Map<string, string> {
    const there = route.neighbours().filter(({ dev, mac }) => dev === uplink && mac !== '');
    const macs = new Map(there.map(({ address, mac }) => [address, mac]));
    return new Map(
      [...hops].flatMap(([owner, hop]) => {
        const mac = macs.get(hop);
        return mac === undefined ? [] : [[owner, mac] as const];
      }),
    );
  }

  function ask(silent: readonly string[]): void {
    const dev = silent.length > 0 ? route.links().find(({ index }) => index === uplink)?.name : undefined;
    if (dev !== undefined) for (const address of new Set(silent)) route.askNeighbour({ dev, address });
  }

  return {
    macOf: (owner) => known.get(owner),
    async learn(plan) {
      const owners = ownersOf(plan);
      // Beside a tunnel they are another data path's, if anybody's.
      if (owners.length === 0 && hops.size === 0) return;
      uplink = uplinkOf(plan);
      neighbours.prune(uplink, owners);
      const before = hops;
      hops = new Map(
        owners.flatMap((owner) => {
          const way = route.routeTo(owner);
          return way?.dev === uplink ? [[owner, way.via ?? owner] as const] : [];
        }),
      );
      const fresh = [...hops.keys()].filter((owner) => !before.has(owner));
      const until = performance.now() + ANSWER_MS;
      while (fresh.length > 0 && performance.now() < until) {
        const heard = answers();
        if (fresh.every((owner) => heard.has(owner))) break;
        await sleep(TICK_MS);
      }
    },
    refresh(plan) {
      const owners = new Set(ownersOf(plan));
      if (owners.size === 0 && known.size === 0) return [];
      const heard = answers();
      ask([...hops].flatMap(([owner, hop]) => (heard.has(owner) ? [] : [hop])));
      const changed = new Set<string>();
      for (const [owner, mac] of heard) {
        if (known.get(owner) !== mac) changed.add(owner);
        known.set(owner, mac);
      }
      // Who is silent for a while is still who he was.
      for (const owner of [...known.keys()].filter((each) => !owners.has(each))) {
        known.delete(owner);
        changed.add(owner);
      }
      return [...plan.routes].flatMap(([key, { addresses }]) =>
        changed.has(addresses[0] ?? '') ? [key] : [],
      );
    },
  };
}

/** What of a plan says who the senders are, as it will be. */
export function senderPlan(plan: SenderPlan, changes: readonly Change[]): SenderPlan {
  const next = { settings: new Map(plan.settings), routes: new Map(plan.routes) };
  for (const change of changes) {
    if (change.table !== 'settings' && change.table !== 'routes') continue;
    const table: Map<string, unknown> = next[change.table];
    if (change.value === undefined) table.delete(change.key);
    else table.set(change.key, change.value);
  }
  return next;
}

export const concernsSenders = (changes: readonly Change[]): boolean =>
  changes.some(({ table }) => table === 'settings' || table === 'routes');
