/**
 * Pods of other nodes by VXLAN: one link, and for each other node a forwarding entry, the tunnel end as a
 * permanent neighbour and a route per pod range. All written, none learned; all marked with protocol 72, the
 * forwarding entries by being on our link.
 */
import type { VxlanOptions } from '../kernel/route.ts';
import { formatAddress, parseAddress } from '../lib/ip.ts';
import type { Difference } from './backend.ts';
import type { Change, RemoteNode } from './plan/tables.ts';
import { vtepLinkLocal, vtepMac } from './vtep.ts';

const PROTOCOL = 72;

/** The part of kernel/route.ts that this uses. */
export interface OverlayRoute {
  link(name: string): OverlayLink | undefined;
  addVxlan(options: VxlanOptions): void;
  setLink(name: string, change: { up?: boolean; mtu?: number; mac?: string; ipv6Addresses?: 'none' }): void;
  deleteLink(name: string): boolean;
  routes(): readonly {
    dst: string;
    via: string | undefined;
    dev: number | undefined;
    src: string | undefined;
    protocol: number;
    table: number;
  }[];
  neighbours(): readonly { dev: number; address: string; mac: string; permanent: boolean }[];
  fdb(): readonly { dev: number; mac: string; dst: string | undefined }[];
  replaceRoute(route: { dst: string; via: string; dev: string; src?: string; onlink?: boolean }): void;
  deleteRoute(key: { dst: string; dev?: string }): boolean;
  replaceNeighbour(neighbour: { dev: string; address: string; mac: string }): void;
  deleteNeighbour(neighbour: { dev: string; address: string }): boolean;
  replaceFdb(entry: { dev: string; mac: string; dst: string }): void;
  deleteFdb(entry: { dev: string; mac: string; dst?: string }): boolean;
}

interface OverlayLink {
  readonly index: number;
  readonly kind: string | undefined;
  readonly up: boolean;
  readonly mtu: number;
  readonly mac: string;
  readonly vxlan: { vni: number; port: number; local: string | undefined } | undefined;
}

export interface OverlayOptions {
  /** Default `vxlan0`. */
  link?: string;
  vni: number;
  port: number;
  /** Of the inner packets: what pods may send. */
  mtu: number;
  /** Underlay addresses of this node, IPv4 first; the first is the tunnel's end. */
  nodeAddresses: readonly string[];
}

export interface Overlay {
  /** Takes the changes of the table `routes`. */
  apply(changes: readonly Change[]): void;
  /** Makes link, entries and routes those of `nodes`; what is right is left alone. */
  prune(nodes: ReadonlyMap<string, RemoteNode>): Difference[];
  verify(nodes: ReadonlyMap<string, RemoteNode>): Difference[];
}

/** A piece of kernel state: `id` says what it is, `text` all of it. */
interface Piece {
  readonly id: string;
  readonly text: string;
  write(): void;
  remove(): void;
}

export function createOverlay(route: OverlayRoute, options: OverlayOptions): Overlay {
  const { link: dev = 'vxlan0', vni, port, mtu, nodeAddresses } = options;
  const local = nodeAddresses[0] ?? '';
  const mac = vtepMac(local);
  const current = new Map<string, RemoteNode>();

  function piecesOf(node: RemoteNode): Piece[] {
    const [end] = node.addresses;
    if (end === undefined) return [];
    const remote = vtepMac(end);
    const gateway = (cidr: string) => (cidr.includes(':') ? vtepLinkLocal(remote) : gateway4(node.addresses));
    const gateways = new Set(node.podCidrs.map(gateway));
    return [
      fdbPiece(remote, end),
      ...[...gateways].map((address) => neighbourPiece(address, remote)),
      ...node.podCidrs.map((cidr) => {
        const src = nodeAddresses.find((address) => address.includes(':') === cidr.includes(':'));
        return routePiece(cidr, gateway(cidr), src);
      }),
    ];
  }

  const fdbPiece = (remote: string, dst: string): Piece => ({
    id: `fdb ${remote}`,
    text: `fdb ${remote} dst ${dst}`,
    write: () => {
      // Replacing would add a second destination beside the first.
      route.deleteFdb({ dev, mac: remote });
      route.replaceFdb({ dev, mac: remote, dst });
    },
    remove: () => void route.deleteFdb({ dev, mac: remote }),
  });

  const neighbourPiece = (address: string, remote: string): Piece => ({
    id: `neighbour ${address}`,
    text: `neighbour ${address} lladdr ${remote}`,
    write: () => route.replaceNeighbour({ dev, address, mac: remote }),
    remove: () => void route.deleteNeighbour({ dev, address }),
  });

  const routePiece = (dst: string, via: string, src: string | undefined): Piece => ({
    id: `route ${dst}`,
    text: `route ${dst} via ${via} src ${src ?? 'any'}`,
    write: () => route.replaceRoute({ dst, via, dev, src, onlink: !via.includes(':') }),
    remove: () => void route.deleteRoute({ dst, dev }),
  });

  /** What is on our link now. */
  function actual(index: number): Piece[] {
    return [
      ...route
        .fdb()
        .filter((entry) => entry.dev === index && entry.dst !== undefined && !/^(00:){5}00$/.test(entry.mac))
        .map((entry) => fdbPiece(entry.mac, entry.dst ?? '')),
      ...route
        .neighbours()
        .filter((entry) => entry.dev === index && entry.permanent)
        .map((entry) => neighbourPiece(entry.address, entry.mac)),
      ...route
        .routes()
        .filter((entry) => entry.dev === index && entry.protocol === PROTOCOL)
        .map((entry) => routePiece(entry.dst, entry.via ?? 'link', entry.src)),
    ];
  }

  function linkProblem(link: OverlayLink | undefined): 'missing' | 'other' | 'settings' | undefined {
    if (!link) return 'missing';
    const same = link.vxlan?.vni === vni && link.vxlan.port === port && link.vxlan.local === local;
    if (link.kind !== 'vxlan' || !same) return 'other';
    return link.up && link.mtu === mtu && link.mac === mac ? undefined : 'settings';
  }

  function mendLink(): Difference[] {
    const problem = linkProblem(route.link(dev));
    if (problem === undefined) return [];
    if (problem === 'other') route.deleteLink(dev);
    if (problem !== 'settings') {
      route.addVxlan({ name: dev, vni, port, local, mac, mtu, alias: 'heddle:overlay' });
      route.setLink(dev, { ipv6Addresses: 'none' });
    }
    route.setLink(dev, { mac, mtu, up: true });
    return [{ kind: problem === 'missing' ? 'missing' : 'changed', what: `link ${dev}` }];
  }

  function compare(nodes: ReadonlyMap<string, RemoteNode>): { piece: Piece; kind: Difference['kind'] }[] {
    const link = route.link(dev);
    const wanted = new Map([...nodes.values()].flatMap(piecesOf).map((piece) => [piece.id, piece]));
    const found = link ? actual(link.index) : [];
    const right = new Set(found.map(({ text }) => text));
    const ids = new Set(found.map(({ id }) => id));
    return [
      ...found.filter(({ id }) => !wanted.has(id)).map((piece) => ({ piece, kind: 'foreign' as const })),
      ...[...wanted.values()]
        .filter(({ text }) => !right.has(text))
        .map((piece) => ({ piece, kind: ids.has(piece.id) ? ('changed' as const) : ('missing' as const) })),
    ];
  }

  /** Old pieces that no node has any more go; a range that moved between nodes keeps its new route. */
  function replace(key: string, next: RemoteNode | undefined): void {
    const before = piecesOf(current.get(key) ?? { node: key, addresses: [], podCidrs: [] });
    if (next) current.set(key, next);
    else current.delete(key);
    const after = next ? piecesOf(next) : [];
    const had = new Set(before.map(({ text }) => text));
    for (const piece of after) if (!had.has(piece.text)) piece.write();
    const kept = new Set([...current.values()].flatMap(piecesOf).map(({ id }) => id));
    for (const piece of before) if (!kept.has(piece.id)) piece.remove();
  }

  return {
    apply(changes) {
      for (const change of changes) if (change.table === 'routes') replace(change.key, change.value);
    },
    prune(nodes) {
      const mended = mendLink();
      const list = compare(nodes);
      for (const { piece, kind } of list) if (kind !== 'foreign') piece.write();
      for (const { piece, kind } of list) if (kind === 'foreign') piece.remove();
      current.clear();
      for (const [key, node] of nodes) current.set(key, node);
      return [...mended, ...list.map(({ piece, kind }) => ({ kind, what: piece.text }))];
    },
    verify(nodes) {
      const problem = linkProblem(route.link(dev));
      return [
        ...(problem
          ? [{ kind: problem === 'missing' ? 'missing' : 'changed', what: `link ${dev}` } as const]
          : []),
        ...compare(nodes).map(({ piece, kind }) => ({ kind, what: piece.text })),
      ];
    },
  };
}

/** The other node's own address serves as gateway: it needs no answer, the neighbour entry is permanent. */
const gateway4 = (addresses: readonly string[]): string =>
  formatAddress(parseAddress(addresses.find((address) => !address.includes(':')) ?? '169.254.72.1'));
