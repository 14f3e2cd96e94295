/** The plan in one table of nftables, `inet heddle`. README.md shows it as `nft list` does. */
import type { Log } from '../../lib/log.ts';
import type { Backend, Capabilities, Counter, Difference } from '../backend.ts';
import type { Overlay } from '../overlay.ts';
import type { Change, PlanState } from '../plan/tables.ts';
import { commandsFor, type Edit, edits, needsReplacement, replaceTable } from './diff.ts';
import { readDrops } from './drops.ts';
import { createEvents, type OpenNflog } from './events.ts';
import { createMirror, type Mirror } from './mirror.ts';
import { ruleOfChain } from './names.ts';
import type { KernelObject, KernelState } from './objects.ts';
import { parseTable } from './parse.ts';
import { concernsSenders, createSenders, senderPlan, type SendersDeps } from './senders.ts';
import { type DeleteFlows, isStale, type ListFlows, translatedFlows, unsettled } from '../tracked-flows.ts';
import { type AddFlows, trackedHandover } from '../tracked-handover.ts';

export interface NftablesDeps {
  /** Default `nftables`: also what its part of a composed backend is called. */
  name?: string;
  /** Name of the table of family inet. Default `heddle`; of two backends at once each needs its own. */
  table?: string;
  /** False: policy and everything but services, which another part translates. Default true. */
  services?: boolean;
  /** True: the other part sends packets on from the output hook (IPVS); they are judged there. Default false. */
  relayed?: boolean;
  /** Opened in the node's namespace (`openNft`). */
  nft: { run(commands: string): string; json(commands: string): unknown; close(): void };
  /** Without it nobody who sends for pods of another node is asked for his link address, where there is no tunnel. */
  neighbours?: SendersDeps;
  /** Programs the routes; without it they are left to somebody else. */
  overlay?: Overlay;
  /** Ends what conntrack remembers of datagrams to backends that are gone; without it they stay until they time out. */
  deleteFlows?: DeleteFlows;
  /** Without it nobody is told beforehand whose connections end with this backend. */
  listFlows?: ListFlows;
  /** Without it connections that another backend translates end with that one. */
  addFlows?: AddFlows;
  /** Without it `events` has nothing to say. */
  openNflog?: OpenNflog;
  log: Log;
  /** Milliseconds since 1970, for events that the kernel did not stamp. Default: the wall clock. */
  now?: () => number;
}

const policy: Capabilities = {
  families: [4, 6],
  policy: true,
  cutsEstablished: true,
  sessionAffinity: false,
  protection: { denied: true, limits: false },
};

const capabilities: Capabilities = {
  ...policy,
  sessionAffinity: true,
  services: {
    kinds: ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'],
    algorithms: ['random', 'round-robin', 'maglev', 'ring-hash', 'source-hash'],
    forwarding: ['snat'],
    protocols: ['TCP', 'UDP', 'SCTP'],
    weights: true,
    sourceRanges: true,
    trafficPolicies: true,
  },
};

/** How long a node that comes back with another link address is not believed. */
const SENDERS_SECONDS = 2;

export function createNftablesBackend(deps: NftablesDeps): Backend {
  const { nft, overlay, log, services = true, relayed = false } = deps;
  const table = `inet ${deps.table ?? 'heddle'}`;
  const events = createEvents(deps.openNflog, deps.now ?? Date.now);
  const senders = deps.neighbours && createSenders(deps.neighbours);
  const stopListening = deps.neighbours?.every?.(SENDERS_SECONDS, hearAgain);
  let mirror: Mirror | undefined;

  function send(commands: readonly string[]): void {
    if (commands.length > 0) nft.run(commands.join('\n'));
  }

  function applied(): Mirror {
    if (!mirror) throw new TypeError('the data path is not pruned yet: prune(state) comes before apply');
    return mirror;
  }

  /** Somebody changed the table by hand: what the mirror remembers is not what is there. */
  function mend(current: Mirror, cause: unknown): void {
    log.warn('the nftables table is not as it was left; comparing all of it', { error: String(cause) });
    converge(current, listTable(nft, table));
  }

  /** Who has answered since, or has another link address now. */
  function hearAgain(): void {
    if (!mirror || !senders) return;
    try {
      const list = mirror.update([], senders.refresh(mirror.plan));
      try {
        send(commandsFor(list, table));
      } catch (error) {
        mend(mirror, error);
      }
    } catch (error) {
      log.warn('cannot follow the link addresses of other nodes; trying again', { error: String(error) });
    }
  }

  /** Sends what differs between the kernel and the mirror. */
  function converge(wanted: Mirror, actual: KernelState | undefined): Difference[] {
    const list = edits(actual ?? new Map(), wanted.objects());
    if (actual === undefined || needsReplacement(list))
      send(replaceTable(wanted.objects(), actual !== undefined, table));
    else send(commandsFor(list, table));
    return list.map(difference);
  }

  /** Before a packet is asked for it: nodes whose link address is new. */
  async function heardBefore(plan: PlanState, changes: readonly Change[]): Promise<string[]> {
    if (!senders) return [];
    const next = senderPlan(plan, changes);
    await senders.learn(next);
    return senders.refresh(next);
  }

  /** What was written must be what is listed, or every prune would write it again. */
  function prove(wanted: Mirror): void {
    const left = edits(listTable(nft, table) ?? new Map(), wanted.objects());
    if (left.length > 0)
      log.warn('nft lists some of what was written in other words: it will be written again at each start', {
        count: left.length,
        first: left.slice(0, 3).map((edit) => difference(edit).what),
      });
  }

  return {
    name: deps.name ?? 'nftables',
    capabilities: services ? capabilities : policy,
    async apply(changes) {
      const current = applied();
      const flows = services ? unsettled(changes, current.plan) : new Set<string>();
      const nodes = concernsSenders(changes) ? await heardBefore(current.plan, changes) : [];
      const list = current.update(changes, nodes);
      try {
        send(commandsFor(list, table));
      } catch (error) {
        mend(current, error);
      }
      overlay?.apply(changes);
      if (flows.size > 0) deps.deleteFlows?.(isStale(current.plan, flows));
    },
    async prune(state) {
      await senders?.learn(state);
      senders?.refresh(state);
      const actual = listTable(nft, table);
      const use = { services, relayed, linkAddresses: senders !== undefined };
      const next = createMirror(state, actual ?? new Map(), use, senders?.macOf);
      const mended = converge(next, actual);
      if (mended.length > 0) prove(next);
      mirror = next;
      const routes = overlay?.prune(state) ?? [];
      if (services) deps.deleteFlows?.(isStale(next.plan));
      return [...mended, ...routes];
    },
    async verify() {
      const current = applied();
      const actual = listTable(nft, table) ?? new Map<string, KernelObject>();
      return [...edits(actual, current.objects()).map(difference), ...(overlay?.verify(current.plan) ?? [])];
    },
    async counters() {
      return readCounters(nft.json(`list counters table ${table}`));
    },
    drops: () => readDrops((command) => nft.json(command), table),
    events: (listener) => events.listen(listener),
    async translated() {
      return services ? translatedFlows(applied().plan, deps.listFlows?.() ?? []) : [];
    },
    ...(services && trackedHandover(deps)),
    async remove() {
      mirror = undefined;
      if (listTable(nft, table)) nft.run(`delete table ${table}`);
    },
    close() {
      stopListening?.();
      events.close();
      nft.close();
    },
  };
}

/** Undefined: there is no such table. */
function listTable(nft: NftablesDeps['nft'], table: string): KernelState | undefined {
  const exists = nft
    .run('list tables inet')
    .split('\n')
    .some((line) => line.trim() === `table ${table}`);
  return exists ? parseTable(nft.run(`list table ${table}`)) : undefined;
}

function difference({ before, after }: Edit): Difference {
  const object = before ?? after;
  const kind = before === undefined ? 'missing' : after === undefined ? 'foreign' : 'changed';
  return { kind, what: object ? objectText(object) : '' };
}

function objectText(object: KernelObject): string {
  switch (object.type) {
    case 'element':
      return `element ${object.set} ${object.key}${object.value === '' ? '' : ` : ${object.value}`}`;
    case 'foreign':
      return `${object.word} ${object.name}`.trim();
    default:
      return `${object.type} ${object.name}`;
  }
}

interface ListedCounter {
  counter?: { name: string; packets: number; bytes: number };
}

/** libnftables' JSON: `{nftables: [{counter: {name, packets, bytes}}]}`. */
function readCounters(listing: unknown): Map<number, Counter> {
  const items = (listing as { nftables?: ListedCounter[] } | undefined)?.nftables ?? [];
  return new Map(
    items.flatMap(({ counter }) => {
      const rule = counter === undefined ? undefined : ruleOfChain(counter.name);
      return counter && rule !== undefined
        ? [[rule, { packets: counter.packets, bytes: counter.bytes }] as const]
        : [];
    }),
  );
}
