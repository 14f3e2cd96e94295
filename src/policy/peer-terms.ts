/** What the rules of the compiled tables ask of peers, counted over roles that come and go. */
import type { Role } from './build-table.ts';
import type { Rule } from './model.ts';
import { longListOf, rangeTwins } from './range-twins.ts';
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

/** How what is asked differs from before. */
export interface TermDifference {
  readonly pods: Difference<PodPeer>;
  /** Of what is asked of addresses: ranges, nodes, names. */
  readonly addresses: Difference<BlockPeer | NodePeer | NamePeer>;
  /** Egress rules with port names: what else they mean, and to whom. */
  readonly names: Difference<Rule>;
  /** Who is in the cluster is told apart now, or not any more, or which ranges are twins may differ. */
  readonly isAnew: boolean;
}

interface Difference<T> {
  readonly gone: readonly T[];
  readonly come: readonly T[];
}

export interface Terms {
  update(roles: { readonly gone: Iterable<Role>; readonly come: Iterable<Role> }): TermDifference;
  peers(): Peers;
  /** Texts of ranges for which another's can stand: of long lists, those that stand in the same rules. */
  twins(): ReadonlyMap<string, string>;
}

export function createTerms(): Terms {
  const held = new Set<Role>();
  const pods = createCounted<PodPeer>();
  const blocks = createCounted<BlockPeer>();
  const nodes = createCounted<NodePeer>();
  const domains = createCounted<NamePeer>();
  const entities = createCounted<EntityPeer>();
  const naming = createCounted<Naming>();
  const lists = createCounted<LongList>();
  /** Ranges of long lists. */
  let listed: ReadonlySet<string> = new Set();
  /** A rule with one of them has come or gone. */
  let isListed = false;
  let hadEntities = false;
  const add = (leaf: LeafPeer, by: 1 | -1): void => {
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

  function count({ rules }: Role, by: 1 | -1): void {
    for (const rule of rules) {
      if (isNaming(rule)) naming.add({ rule, text: namingText(rule) }, by);
      const ranges = longListOf(rule);
      if (ranges) lists.add({ ranges, text: ranges.join(',') }, by);
      for (const peer of rule.peers ?? [])
        for (const leaf of leavesOf(peer)) {
          add(leaf, by);
          isListed ||= listed.has(leaf.text);
        }
    }
  }

  return {
    update({ gone, come }) {
      for (const role of come) {
        held.add(role);
        count(role, 1);
      }
      for (const role of gone) {
        held.delete(role);
        count(role, -1);
      }
      const isTwinned = isAny(lists.settle()) || isListed;
      isListed = false;
      if (isTwinned)
        listed = new Set(
          lists
            .all()
            .values()
            .flatMap(({ ranges }) => ranges),
        );
      entities.settle();
      const isOther = entities.size() > 0 !== hadEntities;
      hadEntities = entities.size() > 0;
      const [ranges, onNodes, named] = [blocks.settle(), nodes.settle(), domains.settle()];
      const names = naming.settle();
      return {
        pods: pods.settle(),
        addresses: {
          gone: [...ranges.gone, ...onNodes.gone, ...named.gone],
          come: [...ranges.come, ...onNodes.come, ...named.come],
        },
        names: { gone: names.gone.map(({ rule }) => rule), come: names.come.map(({ rule }) => rule) },
        isAnew: isTwinned || isOther,
      };
    },
    twins: () =>
      listed.size === 0
        ? new Map()
        : rangeTwins(
            [...held].flatMap(({ rules }) => rules),
            listed,
          ),
    peers: () => ({
      pods: pods.all(),
      blocks: blocks.all(),
      nodes: nodes.all(),
      domains: domains.all(),
      entities: entities.all(),
      names: egressNames([...naming.all().values()].map(({ rule }) => rule)),
    }),
  };
}

interface LongList {
  readonly ranges: readonly string[];
  readonly text: string;
}

/** Of egress rules with port names: those of one text mean the same. */
interface Naming {
  readonly rule: Rule;
  readonly text: string;
}

const namingText = (rule: Rule): string =>
  JSON.stringify([namesIn(rule).sort(), rule.peers?.map(({ text }) => text).sort() ?? null]);

export const isAny = ({ gone, come }: Difference<unknown>): boolean => gone.length + come.length > 0;

const isNaming = (rule: Rule): boolean => rule.ref.direction === 'egress' && namesIn(rule).length > 0;

function createCounted<T extends { readonly text: string }>() {
  const counts = new Map<string, { peer: T; count: number }>();
  /** What was there when last asked, of what has come or gone since. */
  const before = new Map<string, T | undefined>();
  return {
    add(peer: T, by: 1 | -1): void {
      const known = counts.get(peer.text);
      if (known && known.count + by > 0) {
        known.count += by;
        return;
      }
      if (!before.has(peer.text)) before.set(peer.text, known?.peer);
      if (known) counts.delete(peer.text);
      else counts.set(peer.text, { peer, count: 1 });
    },
    /** What has come and gone since this was last asked. */
    settle(): Difference<T> {
      const gone: T[] = [];
      const come: T[] = [];
      for (const [text, was] of before) {
        const is = counts.get(text)?.peer;
        if (was && !is) gone.push(was);
        if (is && !was) come.push(is);
      }
      before.clear();
      return { gone, come };
    },
    size: (): number => counts.size,
    all: (): Map<string, T> => new Map([...counts].map(([text, { peer }]) => [text, peer])),
  };
}
