import type { Node } from '../../api/types.ts';
import { sameJson } from '../../lib/json.ts';
import { worldNode } from '../../policy/from-objects.ts';
import type { WorldNode } from '../../policy/world.ts';

/** Nodes as policy knows them. A node that says what it said, but for a heartbeat, is the very same object. */
export function createWorldNodes() {
  const nodes = new Map<string, WorldNode>();
  return {
    /** Whether policy knows the node otherwise now. */
    set(name: string, node: Node | undefined): boolean {
      const former = nodes.get(name);
      const next = node && worldNode(node);
      if (sameJson(former, next)) return false;
      if (next) nodes.set(name, next);
      else nodes.delete(name);
      return true;
    },
    list: (): WorldNode[] => [...nodes.values()],
  };
}
