/** The plan in one table of nftables, `inet heddle`. README.md shows it as `nft list` does. */
import type { Log } from '../../lib/log.ts';
import type { Backend, Capabilities, Counter, Difference } from '../backend.ts';
import type { Overlay } from '../overlay.ts';
import { commandsFor, type Edit, edits, needsReplacement, replaceTable } from './diff.ts';
import { createEvents, type OpenNflog } from './events.ts';
import { createMirror, type Mirror } from './mirror.ts';
import { ruleOfChain } from './names.ts';
import { type KernelObject, type KernelState, TABLE } from './objects.ts';
import { parseTable } from './parse.ts';
import { type DeleteFlows, isStale, losesBackends } from './stale-flows.ts';

export interface NftablesDeps {
  /** Opened in the node's namespace (`openNft`). */
  nft: { run(commands: string): string; json(commands: string): unknown; close(): void };
  /** Programs the routes; without it they are left to somebody else. */
  overlay?: Overlay;
  /** Ends what conntrack remembers of datagrams to backends that are gone; without it they stay until they time out. */
  deleteFlows?: DeleteFlows;
  /** Without it `events` has nothing to say. */
  openNflog?: OpenNflog;
  log: Log;
  /** Milliseconds since 1970, for events that the kernel did not stamp. Default: the wall clock. */
  now?: () => number;
}

const capabilities: Capabilities = {
  families: [4, 6],
  policy: true,
  cutsEstablished: true,
  sessionAffinity: false,
};

export function createNftablesBackend(deps: NftablesDeps): Backend {
  const { nft, overlay, log } = deps;
  const events = createEvents(deps.openNflog, deps.now ?? Date.now);
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
    converge(current, listTable(nft));
  }

  /** Sends what differs between the kernel and the mirror. */
  function converge(wanted: Mirror, actual: KernelState | undefined): Difference[] {
    const list = edits(actual ?? new Map(), wanted.objects());
    if (actual === undefined || needsReplacement(list))
      send(replaceTable(wanted.objects(), actual !== undefined));
    else send(commandsFor(list));
    return list.map(difference);
  }

  /** What was written must be what is listed, or every prune would write it again. */
  function prove(wanted: Mirror): void {
    const left = edits(listTable(nft) ?? new Map(), wanted.objects());
    if (left.length > 0)
      log.warn('nft lists some of what was written in other words: it will be written again at each start', {
        count: left.length,
        first: left.slice(0, 3).map((edit) => difference(edit).what),
      });
  }

  return {
    name: 'nftables',
    capabilities,
    async apply(changes) {
      const current = applied();
      const loses = losesBackends(changes, current.plan);
      const list = current.update(changes);
      try {
        send(commandsFor(list));
      } catch (error) {
        mend(current, error);
      }
      overlay?.apply(changes);
      if (loses) deps.deleteFlows?.(isStale(current.plan));
    },
    async prune(state) {
      const actual = listTable(nft);
      const next = createMirror(state, actual ?? new Map());
      const mended = converge(next, actual);
      if (mended.length > 0) prove(next);
      mirror = next;
      const routes = overlay?.prune(state.routes) ?? [];
      deps.deleteFlows?.(isStale(next.plan));
      return [...mended, ...routes];
    },
    async verify() {
      const current = applied();
      const actual = listTable(nft) ?? new Map<string, KernelObject>();
      return [
        ...edits(actual, current.objects()).map(difference),
        ...(overlay?.verify(current.plan.routes) ?? []),
      ];
    },
    async counters() {
      return readCounters(nft.json(`list counters table ${TABLE}`));
    },
    events: (listener) => events.listen(listener),
    async remove() {
      mirror = undefined;
      if (listTable(nft)) nft.run(`delete table ${TABLE}`);
    },
    close() {
      events.close();
      nft.close();
    },
  };
}

/** Undefined: there is no such table. */
function listTable(nft: NftablesDeps['nft']): KernelState | undefined {
  const exists = nft
    .run('list tables inet')
    .split('\n')
    .some((line) => line.trim() === `table ${TABLE}`);
  return exists ? parseTable(nft.run(`list table ${TABLE}`)) : undefined;
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
