/**
 * Link addresses of other nodes, by which data paths tell who is forged at the uplink. The kernel alone
 * does not always know them: who asks for this node's IPv6 address does so in the name of a link-local one, and what
 * was learned is forgotten where the machine's neighbours are many.
 */
import type { Difference } from './backend.ts';

export interface NeighbourRoute {
  links(): readonly { readonly index: number; readonly name: string }[];
  routeTo(
    address: string,
  ): { readonly via: string | undefined; readonly dev: number | undefined } | undefined;
  neighbours(link?: number): readonly {
    readonly dev: number;
    readonly address: string;
    readonly mac: string;
    readonly permanent: boolean;
    readonly protocol: number;
  }[];
  askNeighbour(neighbour: { dev: string; address: string }): void;
  deleteNeighbour(neighbour: { dev: string; address: string }): boolean;
}

export interface NodeNeighbours {
  /** `owners`: addresses of other nodes; those behind a gateway make it the neighbour. Forgets all others. */
  prune(uplink: number, owners: readonly string[]): Difference[];
  verify(uplink: number, owners: readonly string[]): Difference[];
  /** Whoever did not answer when he was asked: a node may have been away, and nothing need be said to it since. */
  askAgain(): void;
  /** Those of earlier runs too. */
  remove(): void;
}

const PROTOCOL = 72;

export function createNodeNeighbours(route: NeighbourRoute): NodeNeighbours {
  /** Where others were looked for last: the pods' links have neighbours too, and many. */
  let searched: number | undefined;
  const ours = (link?: number) =>
    route.neighbours(link).filter(({ permanent, protocol }) => !permanent && protocol === PROTOCOL);
  const nameOf = (index: number) => route.links().find((link) => link.index === index)?.name;

  function compare(uplink: number, owners: readonly string[]) {
    const hops = owners.flatMap((owner) => {
      const way = route.routeTo(owner);
      return way && way.dev === uplink ? [way.via ?? owner] : [];
    });
    const wanted = new Set(hops);
    const there = ours();
    const isRight = ({ dev, address }: { dev: number; address: string }) =>
      dev === uplink && wanted.has(address);
    const right = there.filter(isRight);
    const foreign = there.filter((each) => !isRight(each));
    const known = new Set(right.map(({ address }) => address));
    const missing = [...wanted].filter((address) => !known.has(address));
    const differences = [
      ...foreign.map(({ address }) => difference('foreign', address)),
      ...missing.map((address) => difference('missing', address)),
    ];
    const silent = right.filter(({ mac }) => mac === '').map(({ address }) => address);
    return { foreign, missing, silent, differences };
  }

  function forget({ dev, address }: { dev: number; address: string }): void {
    const name = nameOf(dev);
    if (name !== undefined) route.deleteNeighbour({ dev: name, address });
  }

  const ask = (index: number, addresses: readonly string[]): void => {
    const dev = addresses.length > 0 ? nameOf(index) : undefined;
    if (dev !== undefined) for (const address of addresses) route.askNeighbour({ dev, address });
  };

  return {
    prune(uplink, owners) {
      const { foreign, missing, silent, differences } = compare(uplink, owners);
      searched = uplink;
      foreign.forEach(forget);
      ask(uplink, [...missing, ...silent]);
      return differences;
    },
    verify: (uplink, owners) => compare(uplink, owners).differences,
    askAgain() {
      if (searched === undefined) return;
      for (const { dev, address } of ours(searched).filter(({ mac }) => mac === '')) ask(dev, [address]);
    },
    remove: () => ours().forEach(forget),
  };
}

const difference = (kind: Difference['kind'], address: string): Difference => ({
  kind,
  what: `neighbour ${address}`,
});
