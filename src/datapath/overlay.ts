/**
 * The way to pods of other nodes, whatever programs the data path: links of tunnels, and for each other node what
 * way-pieces.ts says. All written, none learned; all marked with protocol 72, forwarding entries and neighbours by
 * being on our links. Without a tunnel (`native`) they are plain routes by the link that nodes share.
 */
import { contains, parseCidr } from '../lib/ip.ts';
import type { TunnelEnd } from '../kernel/route.ts';
import type { Difference } from './backend.ts';
import type { Encapsulation } from './encapsulation.ts';
import { type Change, type PlanState, type RemoteNode, type Routing, SETTINGS_KEY } from './plan/tables.ts';
import { acceptsNative, routingOf, TUNNEL_LINKS, tunnelsOf } from './routing.ts';
import { createTunnelLinks, type TunnelLinkRoute } from './tunnel-links.ts';
import { vtepMac } from './vtep.ts';
import { createPieces, type Piece, type PieceRoute } from './way-pieces.ts';

const PROTOCOL = 72;

/** The part of kernel/route.ts that this uses. */
export interface OverlayRoute extends TunnelLinkRoute, PieceRoute {
  links(): readonly { readonly index: number; readonly name: string }[];
  addresses(): readonly { readonly link: number; readonly address: string }[];
  routes(): readonly {
    readonly dst: string;
    readonly via: string | undefined;
    readonly dev: number | undefined;
    readonly src: string | undefined;
    readonly protocol: number;
    readonly table: number;
    readonly metric: number;
    readonly tunnel?: TunnelEnd | undefined;
  }[];
  neighbours(): readonly {
    readonly dev: number;
    readonly address: string;
    readonly mac: string;
    readonly permanent: boolean;
  }[];
  fdb(): readonly { readonly dev: number; readonly mac: string; readonly dst: string | undefined }[];
}

export interface OverlayOptions {
  vni: number;
  /** Of VXLAN. */
  port: number;
  /** What pods may send: inner packets of the tunnel. */
  mtu: number | ((encapsulation: Encapsulation) => number);
  /** Underlay addresses of this node, IPv4 first; the first is the tunnel's end. */
  nodeAddresses: readonly string[];
}

export type WayState = Pick<PlanState, 'routes' | 'settings'>;

export interface Overlay {
  /** Takes the changes of the tables `routes` and `settings`. */
  apply(changes: readonly Change[]): void;
  /** Makes links, entries and routes those of the plan; what is right is left alone. */
  prune(state: WayState): Difference[];
  verify(state: WayState): Difference[];
}

export function createOverlay(route: OverlayRoute, options: OverlayOptions): Overlay {
  const { vni, port, mtu, nodeAddresses } = options;
  const local = nodeAddresses[0] ?? '';
  const links = createTunnelLinks(route, {
    vni,
    port,
    local,
    mac: vtepMac(local),
    mtu: typeof mtu === 'number' ? () => mtu : mtu,
  });
  const pieces = createPieces(route, { vni, local });
  const current = new Map<string, RemoteNode>();
  let routing: Routing = routingOf(undefined);
  let podCidrs: readonly string[] = [];

  function uplink(): string | undefined {
    const own = new Set(nodeAddresses);
    const at = route.addresses().find(({ address }) => own.has(address.split('/')[0] ?? ''))?.link;
    return at === undefined ? undefined : route.links().find(({ index }) => index === at)?.name;
  }

  const piecesOf = (nodes: Iterable<RemoteNode>, how: Routing): Piece[] => {
    const link = acceptsNative({ routing: how }) ? uplink() : undefined;
    return [...nodes].flatMap((node) => pieces.piecesOf(node, how, nodeAddresses, link));
  };

  /** What is there now of ours: on links of tunnels, and routes to pods' ranges at the uplink. */
  function actual(cidrs: readonly string[]): Piece[] {
    const tunnels = new Set(Object.values(TUNNEL_LINKS));
    const names = new Map(route.links().map(({ index, name }) => [index, name]));
    const tunnelAt = (index: number | undefined): string | undefined => {
      const name = names.get(index ?? 0);
      return name !== undefined && tunnels.has(name) ? name : undefined;
    };
    const [link, ranges, own] = [uplink(), cidrs.map(parseCidr), new Set(nodeAddresses)];
    const isOfPods = (dst: string, via: string | undefined): boolean => {
      const cidr = parseCidr(dst);
      return (
        via !== undefined &&
        ranges.some(
          (range) => range.family === cidr.family && cidr.length >= range.length && contains(range, cidr),
        )
      );
    };
    // To whatever range: the node that had a block may have gone while no agent ran. Nobody else names a source.
    const isOurs = (via: string | undefined, src: string | undefined): boolean =>
      via !== undefined && src !== undefined && own.has(src);
    return [
      ...route
        .fdb()
        .filter(
          ({ dev, mac, dst }) =>
            names.get(dev) === TUNNEL_LINKS.vxlan && dst !== undefined && !/^(00:){5}00$/.test(mac),
        )
        .map(({ mac, dst }) => pieces.fdb(mac, dst ?? '')),
      ...route.neighbours().flatMap(({ dev, address, mac, permanent }) => {
        const name = permanent ? tunnelAt(dev) : undefined;
        return name === undefined ? [] : [pieces.neighbour(name, address, mac)];
      }),
      ...route
        .routes()
        .filter(({ protocol }) => protocol === PROTOCOL)
        .flatMap(({ dst, via, dev, src, metric, tunnel }) => {
          const name =
            tunnelAt(dev) ??
            (names.get(dev ?? 0) === link && (isOfPods(dst, via) || isOurs(via, src)) ? link : undefined);
          return name === undefined ? [] : [pieces.routeTo({ dst, dev: name, via, src, metric, tunnel })];
        }),
    ];
  }

  function compare(nodes: Iterable<RemoteNode>, how: Routing, cidrs: readonly string[]) {
    const all = [...nodes];
    const list = piecesOf(all, how);
    const wanted = new Map(list.map((piece) => [piece.id, piece]));
    // Blocks of pools may be outside of the ranges that the cluster began with.
    const found = actual([...cidrs, ...all.flatMap((node) => node.podCidrs)]);
    const right = new Set(found.map(({ text }) => text));
    const ids = new Set(found.map(({ id }) => id));
    return [
      ...found
        .filter(({ id }) => !wanted.has(id))
        .map((piece) => ({ piece, kind: 'foreign' as Difference['kind'] })),
      ...[...wanted.values()]
        .filter(({ text }) => !right.has(text))
        .map((piece) => ({ piece, kind: (ids.has(piece.id) ? 'changed' : 'missing') as Difference['kind'] })),
    ];
  }

  /** Nothing that is in use goes before what replaces it is there. */
  function converge(): Difference[] {
    const tunnels = tunnelsOf({ routing });
    const made = links.mend(tunnels);
    const list = compare(current.values(), routing, podCidrs);
    for (const { piece, kind } of list) if (kind !== 'foreign') piece.write();
    for (const { piece, kind } of list) if (kind === 'foreign') piece.remove();
    return [
      ...made,
      ...list.map(({ piece, kind }) => ({ kind, what: piece.text })),
      ...links.removeOthers(tunnels),
    ];
  }

  /** Old pieces that no node has any more go; a range that moved between nodes keeps its new route. */
  function replace(key: string, next: RemoteNode | undefined): void {
    const former = current.get(key);
    const before = former ? piecesOf([former], routing) : [];
    if (next) current.set(key, next);
    else current.delete(key);
    const after = next ? piecesOf([next], routing) : [];
    const had = new Set(before.map(({ text }) => text));
    for (const piece of after) if (!had.has(piece.text)) piece.write();
    const kept = new Set(piecesOf(current.values(), routing).map(({ id }) => id));
    for (const piece of before) if (!kept.has(piece.id)) piece.remove();
  }

  return {
    apply(changes) {
      for (const change of changes) {
        if (change.table === 'routes') replace(change.key, change.value);
        if (change.table !== 'settings' || !change.value) continue;
        const next = routingOf(change.value);
        podCidrs = change.value.podCidrs;
        if (JSON.stringify(next) === JSON.stringify(routing)) continue;
        routing = next;
        converge();
      }
    },
    prune(state) {
      const settings = state.settings.get(SETTINGS_KEY);
      routing = routingOf(settings);
      podCidrs = settings?.podCidrs ?? [];
      current.clear();
      for (const [key, node] of state.routes) current.set(key, node);
      return converge();
    },
    verify(state) {
      const settings = state.settings.get(SETTINGS_KEY);
      const how = routingOf(settings);
      return [
        ...links.verify(tunnelsOf(settings)),
        ...compare(state.routes.values(), how, settings?.podCidrs ?? []).map(({ piece, kind }) => ({
          kind,
          what: piece.text,
        })),
      ];
    },
  };
}
