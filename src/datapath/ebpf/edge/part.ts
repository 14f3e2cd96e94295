/** The edge of the eBPF data path: translation at the uplink, its tables, and what it needs of the node. */
import type { Netns } from '../../../kernel/netns.ts';
import type { Log } from '../../../lib/log.ts';
import type { TranslatedFlow } from '../../backend.ts';
import { applyChanges, emptyState, SETTINGS_KEY, stateChanges, type PlanState } from '../../plan/tables.ts';
import { sendingLink } from '../../routing.ts';
import type { Programs } from '../loader.ts';
import { createMapTable, type MapTable } from '../map-table.ts';
import type { Part } from '../part.ts';
import { cutFlows, type FrontendChange, goneDatagrams, type NatKey, type NatValue } from './cut.ts';
import { dsrNames } from './dsr.ts';
import { forgetAll, handedOver, takeOver } from './handover.ts';
import { createEdgeHooks } from './hooks.ts';
import { createEdgeRecords, EDGE_MAPS, type EdgeLinks, type EdgeMap, lowerEdge, NAT_PORTS } from './lower.ts';
import { createNodeNeighbours, type NeighbourRoute } from '../../neighbours.ts';
import { recount } from './recount.ts';
import { holdSysctls, releaseSysctls } from './sysctls.ts';
import { translatedFlows } from './translated.ts';

export interface EdgeDeps {
  readonly programs: Programs;
  /** The node's network namespace. */
  readonly ns: Netns;
  /** In that namespace. */
  readonly route: NeighbourRoute & {
    link(name: string): { readonly index: number } | undefined;
    addresses(): readonly { readonly link: number; readonly address: string }[];
  };
  readSysctl(key: string): string;
  writeSysctl(key: string, value: string): void;
  /** Calls `work` again and again until it is told to stop. Absent: connections are not counted again, nor silent nodes asked for. */
  every?(seconds: number, work: () => Promise<void>): () => void;
  readonly log: Log;
}

export interface EdgePart extends Part {
  /** Connections whose packets are rewritten here: they end without it. */
  translated(): TranslatedFlow[];
  remove(): void;
}

/** How long what silence and eviction took from the tables may count, and a node that is back be unknown, in seconds. */
const AGAIN = 5;

const PORT_RANGE = `${NAT_PORTS.first}-${NAT_PORTS.last}`;

const countsFlows = ({ services }: PlanState): boolean =>
  services.values().some(({ algorithm }) => algorithm === 'least-connection');

export function createEdgePart(deps: EdgeDeps): EdgePart {
  const { programs, ns, route, log } = deps;
  const records = createEdgeRecords(programs);
  const tables = Object.fromEntries(
    EDGE_MAPS.map((name) => [
      name,
      createMapTable(programs.map(name), ({ key }) => Buffer.from(key).toString('hex')),
    ]),
  ) as { [M in EdgeMap]: MapTable };
  const nats = (['nat4', 'nat6'] as const).map((name) => ({
    map: programs.map(name),
    isV6: name === 'nat6',
    key: programs.codec<NatKey>('struct nat_key'),
    value: programs.codec<NatValue>('struct nat_value'),
  }));
  const hooks = createEdgeHooks(programs, ns);
  const neighbours = createNodeNeighbours(route);
  const sysctls = { read: deps.readSysctl, write: deps.writeSysctl };
  let state = emptyState();
  let attachedAt = 0;
  const stopRepeating = deps.every?.(AGAIN, async () => {
    neighbours.askAgain();
    if (countsFlows(state)) await recount(programs);
  });

  function linksOf(plan: PlanState): EdgeLinks {
    const own = new Set(plan.settings.get(SETTINGS_KEY)?.nodeAddresses ?? []);
    const uplink = route.addresses().find(({ address }) => own.has(address.split('/')[0] ?? ''));
    const overlay = sendingLink(plan.settings.get(SETTINGS_KEY));
    return {
      uplink: uplink?.link ?? 0,
      overlay: overlay === undefined ? 0 : (route.link(overlay)?.index ?? 0),
    };
  }

  /** Where tunnels of other nodes end: as `edge_nets` names the owners. */
  const owners = (plan: PlanState): string[] =>
    [...plan.routes.values()].flatMap(({ addresses }) => addresses.slice(0, 1));

  function attach(uplink: number) {
    attachedAt = uplink;
    return hooks.prune(uplink);
  }

  function become(): void {
    const links = linksOf(state);
    const wanted = lowerEdge(state, links, records);
    for (const name of EDGE_MAPS) tables[name].become(wanted[name]);
    if (links.uplink !== attachedAt) attach(links.uplink);
    tellClashes();
  }

  function tellClashes(): void {
    for (const [first, second] of dsrNames(state).clashes)
      log.warn('direct server return cannot tell two addresses apart: neither is served by it', {
        first,
        second,
      });
  }

  return {
    name: 'edge',
    apply(changes) {
      const services: FrontendChange[] = changes.flatMap((change) =>
        change.table === 'services' ? [{ before: state.services.get(change.key), after: change.value }] : [],
      );
      applyChanges(state, changes);
      const isElsewhere = changes.some(({ table }) => table === 'settings' || table === 'routes');
      if (isElsewhere) neighbours.prune(linksOf(state).uplink, owners(state));
      if (
        isElsewhere ||
        services.some(
          ({ before, after }) => (before ?? after)?.kind !== 'ClusterIP' && before?.kind !== after?.kind,
        )
      )
        become();
      const gone = goneDatagrams(services);
      for (const nat of nats) cutFlows(nat, gone);
    },
    prune(next) {
      state = emptyState();
      applyChanges(state, stateChanges(next));
      holdSysctls(sysctls, PORT_RANGE);
      const links = linksOf(state);
      const wanted = lowerEdge(state, links, records);
      const mended = [
        ...neighbours.prune(links.uplink, owners(state)),
        ...EDGE_MAPS.flatMap((name) => tables[name].prune(wanted[name])),
      ];
      tellClashes();
      programs.catchUp();
      const attached = attach(links.uplink);
      programs.catchUp();
      return [...mended, ...attached];
    },
    verify(next) {
      const links = linksOf(next);
      const wanted = lowerEdge(next, links, records);
      return [
        ...EDGE_MAPS.flatMap((name) => tables[name].verify(wanted[name])),
        ...hooks.verify(links.uplink),
        ...neighbours.verify(links.uplink, owners(next)),
      ];
    },
    runs: (program, link) => hooks.runs(program, link),
    translated: () => nats.flatMap((nat) => [...translatedFlows(nat, process.hrtime.bigint())]),
    close: () => stopRepeating?.(),
    handOver: () => nats.flatMap((nat) => handedOver(nat, process.hrtime.bigint())),
    takeOver(connections, next) {
      const settings = next.settings.get(SETTINGS_KEY);
      if (settings) takeOver(nats, connections, settings, process.hrtime.bigint());
    },
    letGo: () => nats.forEach(forgetAll),
    remove() {
      hooks.remove();
      neighbours.remove();
      releaseSysctls(sysctls, PORT_RANGE);
      attachedAt = 0;
    },
  };
}
