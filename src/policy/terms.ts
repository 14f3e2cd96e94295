/**
 * What rules ask of peers, as texts that hold for an address or do not: the leaves of their expressions, where entities
 * come down to being in the cluster and being on a node.
 */
import { type Address, type Cidr, tryParseAddress } from '../lib/ip.ts';
import type { Block } from './blocks.ts';
import type { Peers } from './peer-terms.ts';
import { type EntityPeer, holdsPeer, leavesOf, type LeafPeer, type Peer, rangesOf } from './peers.ts';
import { nodeAddresses, type Places } from './scene.ts';

/** Terms that hold for addresses, whosoever they are. */
export function addressTerms(places: Places, peers: Peers): Map<string, Block> {
  const terms = new Map<string, Block>();
  for (const leaves of [peers.blocks, peers.nodes, peers.domains])
    for (const [text, leaf] of leaves) terms.set(text, blockOf(places, leaf)!);
  if (peers.entities.size > 0)
    for (const text of [IN_CLUSTER, ON_NODE]) terms.set(text, hosts(places.nodes.flatMap(nodeAddresses)));
  return terms;
}

/** Undefined of a leaf that no addresses alone say. */
export function blockOf({ nodes, world }: Places, leaf: LeafPeer): Block | undefined {
  switch (leaf.type) {
    case 'block':
      return { ranges: rangesOf(leaf), except: leaf.except };
    case 'nodes':
      return hosts(nodes.filter(({ labels }) => leaf.nodes.selects(labels ?? {})).flatMap(nodeAddresses));
    case 'names':
      return hosts(
        (world.names ?? [])
          .filter(({ name }) => leaf.patterns.some((each) => each.matches(name)))
          .flatMap(({ addresses }) => addresses),
      );
    default:
      return undefined;
  }
}

export const hostCidr = (address: Address): Cidr => ({ ...address, length: address.family === 4 ? 32 : 128 });

const hosts = (addresses: readonly string[]): Block => ({
  ranges: addresses
    .map(tryParseAddress)
    .filter((address) => address !== undefined)
    .map(hostCidr),
  except: [],
});

/** What rules ask of entities comes down to these. Who is neither is outside: identity 0 has no term. */
export const IN_CLUSTER = 'entity cluster';
export const ON_NODE = 'entity remote-node';

/** Terms of every pod, whoever it is. */
export const podEntities = ({ entities }: Peers): readonly string[] =>
  entities.size > 0 ? [IN_CLUSTER] : [];

export const nodeEntities = ({ entities }: Peers): readonly string[] =>
  entities.size > 0 ? [IN_CLUSTER, ON_NODE] : [];

/** Whether a peer holds for whom these terms hold. */
export const holdsFor = (peer: Peer, terms: ReadonlySet<string>): boolean =>
  holdsPeer(peer, (leaf) => (leaf.type === 'entity' ? entityHolds(leaf, terms) : terms.has(leaf.text)));

function entityHolds({ entity }: EntityPeer, terms: ReadonlySet<string>): boolean {
  switch (entity) {
    case 'all':
      return true;
    case 'world':
      return !terms.has(IN_CLUSTER);
    case 'cluster':
      return terms.has(IN_CLUSTER);
    case 'remote-node':
      return terms.has(ON_NODE);
    default:
      return false;
  }
}

/** Of which at least one must hold where the peer does; undefined: it may hold where no term does. */
export function neededTerms(peer: Peer): readonly string[] | undefined {
  switch (peer.type) {
    case 'not':
      return undefined;
    case 'any-of': {
      const each = peer.peers.map(neededTerms);
      return each.every((terms) => terms !== undefined) ? [...new Set(each.flat())] : undefined;
    }
    case 'all-of': {
      const known = peer.peers.map(neededTerms).filter((terms) => terms !== undefined);
      return known.sort((a, b) => a.length - b.length)[0];
    }
    case 'entity':
      return neededOfEntity(peer);
    default:
      return [peer.text];
  }
}

function neededOfEntity({ entity }: EntityPeer): readonly string[] | undefined {
  if (entity === 'world' || entity === 'all') return undefined;
  if (entity === 'host') return [];
  return [entity === 'cluster' ? IN_CLUSTER : ON_NODE];
}

/** Every term on which it depends whether the peer holds. */
export const termsOf = (peer: Peer): readonly string[] =>
  leavesOf(peer).flatMap((leaf) => {
    if (leaf.type !== 'entity') return [leaf.text];
    return leaf.entity === 'remote-node' ? [ON_NODE] : [IN_CLUSTER];
  });
