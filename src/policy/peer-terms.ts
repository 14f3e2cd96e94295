/** What the rules of the compiled tables ask of peers, counted over roles that come and go. */
import type { Role } from './build-table.ts';
import type { Rule } from './model.ts';
import { egressNames, namesIn } from './named-ports.ts';
import {
  type BlockPeer,
  type EntityPeer,
  type LeafPeer,
  leavesOf,
  type NamePeer,
  type NodePeer,
  type PodPeer,
} from './peers.ts';

export interface Peers {
  /** By text: equal texts match the same peers. */
  readonly pods: ReadonlyMap<string, PodPeer>;
  readonly blocks: ReadonlyMap<string, BlockPeer>;
  readonly nodes: ReadonlyMap<string, NodePeer>;
  readonly domains: ReadonlyMap<string, NamePeer>;
  readonly entities: ReadonlyMap<string, EntityPeer>;
  readonly names: ReturnType<typeof egressNames>;
}

export interface Terms {
  /** Returns whether `peers` may be others than before. */
  update(roles: ReadonlySet<Role>): boolean;
  peers(): Peers;
}

export function createTerms(): Terms {
  let held: ReadonlySet<Role> = new Set();
  const pods = createCounted<PodPeer>();
  const blocks = createCounted<BlockPeer>();
  const nodes = createCounted<NodePeer>();
  const domains = createCounted<NamePeer>();
  const entities = createCounted<EntityPeer>();
  const add = (leaf: LeafPeer, by: 1 | -1): boolean => {
    switch (leaf.type) {
      case 'pods':
        return pods.add(leaf, by);
      case 'block':
        return blocks.add(leaf, by);
      case 'nodes':
        return nodes.add(leaf, by);
      case 'names':
        return domains.add(leaf, by);
      default:
        return entities.add(leaf, by);
    }
  };
  /** Egress rules with port names: they are rare, and any change of roles counts while there are some. */
  let naming = 0;

  function count({ rules }: Role, by: 1 | -1): boolean {
    let isNew = false;
    for (const rule of rules) {
      if (isNaming(rule)) naming += by;
      for (const peer of rule.peers ?? []) for (const leaf of leavesOf(peer)) isNew = add(leaf, by) || isNew;
    }
    return isNew;
  }

  return {
    update(roles) {
      const wasNaming = naming > 0;
      let differs = false;
      // What stays in another role is never gone in between.
      for (const role of roles) if (!held.has(role)) differs = count(role, 1) || differs;
      for (const role of held) if (!roles.has(role)) differs = count(role, -1) || differs;
      held = roles;
      return differs || wasNaming || naming > 0;
    },
    peers: () => ({
      pods: pods.all(),
      blocks: blocks.all(),
      nodes: nodes.all(),
      domains: domains.all(),
      entities: entities.all(),
      names: egressNames(naming > 0 ? [...new Set([...held].flatMap((role) => role.rules))] : []),
    }),
  };
}

const isNaming = (rule: Rule): boolean => rule.ref.direction === 'egress' && namesIn(rule).length > 0;

function createCounted<T extends { readonly text: string }>() {
  const counts = new Map<string, { peer: T; count: number }>();
  return {
    /** Returns whether the text is new, or gone. */
    add(peer: T, by: 1 | -1): boolean {
      const known = counts.get(peer.text);
      if (!known) counts.set(peer.text, { peer, count: 1 });
      else if (by < 0 && known.count === 1) counts.delete(peer.text);
      else {
        known.count += by;
        return false;
      }
      return true;
    },
    all: (): Map<string, T> => new Map([...counts].map(([text, { peer }]) => [text, peer])),
  };
}
