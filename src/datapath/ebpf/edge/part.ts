/** The edge of the eBPF data path: translation at the uplink, its tables, and what it needs of the node. */
import fs from 'node:fs';
import { attachTc, detachTc, type Direction } from '../../../kernel/bpf/links.ts';
import { isLink, linkInfo } from '../../../kernel/bpf/link.ts';
import { getPinned } from '../../../kernel/bpf/syscall.ts';
import type { Netns } from '../../../kernel/netns.ts';
import type { Log } from '../../../lib/log.ts';
import type { Difference } from '../../backend.ts';
import { applyChanges, emptyState, SETTINGS_KEY, stateChanges, type PlanState } from '../../plan/tables.ts';
import type { Programs } from '../loader.ts';
import { createMapTable, type MapTable } from '../map-table.ts';
import type { Part } from '../part.ts';
import { cutFlows, type FrontendChange, goneDatagrams, type NatKey, type NatValue } from './cut.ts';
import { dsrNames } from './dsr.ts';
import { createEdgeRecords, EDGE_MAPS, type EdgeLinks, type EdgeMap, lowerEdge, NAT_PORTS } from './lower.ts';

export interface EdgeDeps {
  readonly programs: Programs;
  /** The node's network namespace. */
  readonly ns: Netns;
  /** In that namespace. */
  readonly route: {
    link(name: string): { readonly index: number } | undefined;
    addresses(): readonly { readonly link: number; readonly address: string }[];
  };
  /** Default `vxlan0`. */
  readonly overlayLink?: string | undefined;
  readSysctl(key: string): string;
  writeSysctl(key: string, value: string): void;
  readonly log: Log;
}

export interface EdgePart extends Part {
  /** Takes the programs off the uplink. */
  remove(): void;
}

interface Hook {
  readonly name: string;
  readonly program: string;
  readonly direction: Direction;
}

const HOOKS: readonly Hook[] = [
  { name: 'from-uplink', program: 'from_uplink', direction: 'ingress' },
  { name: 'to-uplink', program: 'to_uplink', direction: 'egress' },
];

/** Ports that the kernel gives to nobody by itself, both families. */
const RESERVED = 'net/ipv4/ip_local_reserved_ports';

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
    key: programs.codec<NatKey>('struct nat_key'),
    value: programs.codec<NatValue>('struct nat_value'),
  }));
  const pinOf = (hook: Hook) => programs.linkPath(hook.name);
  let state = emptyState();
  let attachedAt = 0;

  function linksOf(plan: PlanState): EdgeLinks {
    const own = new Set(plan.settings.get(SETTINGS_KEY)?.nodeAddresses ?? []);
    const uplink = route.addresses().find(({ address }) => own.has(address.split('/')[0] ?? ''));
    return { uplink: uplink?.link ?? 0, overlay: route.link(deps.overlayLink ?? 'vxlan0')?.index ?? 0 };
  }

  function attach(ifindex: number): Difference[] {
    if (ifindex === 0) return [];
    attachedAt = ifindex;
    return HOOKS.flatMap((hook) => {
      const program = programs.program(hook.program);
      const { created } = attachTc({
        ifindex,
        ns,
        direction: hook.direction,
        program,
        pinPath: pinOf(hook),
      });
      return created ? [missing(hook)] : [];
    });
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

  /** Or a socket of the node might be given a port that a pod's connection has. */
  function reservePorts(): void {
    const range = `${NAT_PORTS.first}-${NAT_PORTS.last}`;
    const had = deps.readSysctl(RESERVED).trim();
    if (had.split(',').includes(range)) return;
    deps.writeSysctl(RESERVED, had === '' ? range : `${had},${range}`);
  }

  return {
    name: 'edge',
    apply(changes) {
      const services: FrontendChange[] = changes.flatMap((change) =>
        change.table === 'services' ? [{ before: state.services.get(change.key), after: change.value }] : [],
      );
      applyChanges(state, changes);
      if (
        services.some(
          ({ before, after }) => (before ?? after)?.kind !== 'ClusterIP' && before?.kind !== after?.kind,
        ) ||
        changes.some(({ table }) => table === 'settings' || table === 'routes')
      )
        become();
      const gone = goneDatagrams(services);
      for (const nat of nats) cutFlows(nat, gone);
    },
    prune(next) {
      state = emptyState();
      applyChanges(state, stateChanges(next));
      reservePorts();
      const links = linksOf(state);
      const wanted = lowerEdge(state, links, records);
      const mended = EDGE_MAPS.flatMap((name) => tables[name].prune(wanted[name]));
      tellClashes();
      return [...mended, ...attach(links.uplink)];
    },
    verify(next) {
      const links = linksOf(next);
      const wanted = lowerEdge(next, links, records);
      return [
        ...EDGE_MAPS.flatMap((name) => tables[name].verify(wanted[name])),
        ...(links.uplink === 0
          ? []
          : HOOKS.filter((hook) => !isAttached(pinOf(hook), links.uplink)).map(missing)),
      ];
    },
    remove() {
      for (const hook of HOOKS)
        detachTc({ ifindex: attachedAt, ns, direction: hook.direction, pinPath: pinOf(hook) });
      attachedAt = 0;
    },
  };
}

const missing = (hook: Hook): Difference => ({
  kind: 'missing',
  what: `program ${hook.program} at the uplink`,
});

function isAttached(pinPath: string, index: number): boolean {
  const fd = getPinned(pinPath);
  if (fd === undefined) return false;
  try {
    // A pin of clsact is the program's own.
    return !isLink(fd) || linkInfo(fd).ifindex === index;
  } finally {
    fs.closeSync(fd);
  }
}
