/**
 * What the kernel must know of another node to send to its pods: routes by each way that is in use, and where
 * inner packets are frames the tunnel's end as a permanent neighbour; for VXLAN its forwarding entry too.
 */
import { formatAddress, parseAddress } from '../lib/ip.ts';
import type { TunnelEnd } from '../kernel/route.ts';
import type { Encapsulation } from './encapsulation.ts';
import type { RemoteNode, Routing } from './plan/tables.ts';
import { TUNNEL_LINKS } from './routing.ts';
import { vtepLinkLocal, vtepMac } from './vtep.ts';

/** A piece of kernel state: `id` says what it is, `text` all of it. */
export interface Piece {
  readonly id: string;
  readonly text: string;
  write(): void;
  remove(): void;
}

/** The part of kernel/route.ts that this uses. */
export interface PieceRoute {
  replaceRoute(route: {
    dst: string;
    via?: string;
    dev: string;
    src?: string;
    onlink?: boolean;
    ifReachable?: boolean;
    metric?: number;
    tunnel?: TunnelEnd;
  }): void;
  deleteRoute(key: { dst: string; dev?: string; metric?: number }): boolean;
  replaceNeighbour(neighbour: { dev: string; address: string; mac: string }): void;
  deleteNeighbour(neighbour: { dev: string; address: string }): boolean;
  replaceFdb(entry: { dev: string; mac: string; dst: string }): void;
  deleteFdb(entry: { dev: string; mac: string; dst?: string }): boolean;
}

export interface RoutePiece {
  readonly dst: string;
  readonly dev: string;
  readonly via: string | undefined;
  readonly src: string | undefined;
  readonly metric: number;
  readonly tunnel: TunnelEnd | undefined;
}

/** What a route has whose metric nobody said: the kernel's choice. */
const PLAIN_METRIC = { 4: 0, 6: 1024 } as const;
const familyOf = (text: string): 4 | 6 => (text.includes(':') ? 6 : 4);

export function createPieces(route: PieceRoute, { vni, local }: { vni: number; local: string }) {
  const fdb = (mac: string, dst: string): Piece => ({
    id: `fdb ${mac}`,
    text: `fdb ${mac} dst ${dst}`,
    write: () => {
      // Replacing would add a second destination beside the first.
      route.deleteFdb({ dev: TUNNEL_LINKS.vxlan, mac });
      route.replaceFdb({ dev: TUNNEL_LINKS.vxlan, mac, dst });
    },
    remove: () => void route.deleteFdb({ dev: TUNNEL_LINKS.vxlan, mac }),
  });

  const neighbour = (dev: string, address: string, mac: string): Piece => ({
    id: `neighbour ${address} dev ${dev}`,
    text: `neighbour ${address} dev ${dev} lladdr ${mac}`,
    write: () => route.replaceNeighbour({ dev, address, mac }),
    remove: () => void route.deleteNeighbour({ dev, address }),
  });

  function routeTo({ dst, dev, via, src, metric, tunnel }: RoutePiece): Piece {
    const end = tunnel ? ` to ${tunnel.dst} id ${tunnel.id} from ${tunnel.src ?? 'any'}` : '';
    return {
      id: `route ${dst} metric ${metric}`,
      text: `route ${dst} dev ${dev} via ${via ?? 'link'} src ${src ?? 'any'} metric ${metric}${end}`,
      write: () =>
        route.replaceRoute({
          dst,
          dev,
          metric,
          ...(via === undefined ? {} : { via }),
          ...(src === undefined ? {} : { src }),
          ...(tunnel ? { tunnel } : {}),
          // One node that is on no link of ours must not keep the others from being reached.
          ifReachable: !tunnelNames.has(dev),
          onlink: via !== undefined && !via.includes(':') && tunnelNames.has(dev),
        }),
      remove: () => void route.deleteRoute({ dst, dev, metric }),
    };
  }

  /** Undefined where the way cannot lead there. */
  function hop(
    way: Encapsulation,
    node: RemoteNode,
    end: string,
    dst: string,
    uplink: string | undefined,
  ): Pick<RoutePiece, 'dev' | 'via' | 'tunnel'> | undefined {
    if (way === 'native') {
      const via = node.addresses.find((address) => familyOf(address) === familyOf(dst));
      return via === undefined || uplink === undefined ? undefined : { dev: uplink, via, tunnel: undefined };
    }
    const dev = TUNNEL_LINKS[way];
    const via = dst.includes(':') ? vtepLinkLocal(vtepMac(end)) : gateway4(node.addresses);
    if (way === 'vxlan') return { dev, via, tunnel: undefined };
    const tunnel = { id: way === 'geneve' ? vni : 0, dst: end, src: local };
    return { dev, via: way === 'geneve' ? via : undefined, tunnel };
  }

  function routesOf(
    node: RemoteNode,
    end: string,
    { sends }: Routing,
    nodeAddresses: readonly string[],
    uplink: string | undefined,
  ): Piece[] {
    return node.podCidrs.flatMap((dst) => {
      const found = hop(sends, node, end, dst, uplink);
      if (!found) return [];
      const src = nodeAddresses.find((address) => familyOf(address) === familyOf(dst));
      return [routeTo({ dst, src, metric: PLAIN_METRIC[familyOf(dst)], ...found })];
    });
  }

  /** In the order in which they are to be written. */
  function piecesOf(
    node: RemoteNode,
    routing: Routing,
    nodeAddresses: readonly string[],
    uplink: string | undefined,
  ): Piece[] {
    const [end] = node.addresses;
    if (end === undefined) return [];
    const mac = vtepMac(end);
    const framed = (['vxlan', 'geneve'] as const).filter(
      (way) => routing.sends === way || routing.accepts.includes(way),
    );
    const gateways = new Set(
      node.podCidrs.map((cidr) => (cidr.includes(':') ? vtepLinkLocal(mac) : gateway4(node.addresses))),
    );
    return [
      ...(framed.includes('vxlan') ? [fdb(mac, end)] : []),
      ...framed.flatMap((way) => [...gateways].map((address) => neighbour(TUNNEL_LINKS[way], address, mac))),
      ...routesOf(node, end, routing, nodeAddresses, uplink),
    ];
  }

  return { fdb, neighbour, routeTo, piecesOf };
}

const tunnelNames: ReadonlySet<string> = new Set(Object.values(TUNNEL_LINKS));

/** The other node's own address serves as gateway: it needs no answer, the neighbour entry is permanent. */
const gateway4 = (addresses: readonly string[]): string =>
  formatAddress(parseAddress(addresses.find((address) => !address.includes(':')) ?? '169.254.72.1'));
