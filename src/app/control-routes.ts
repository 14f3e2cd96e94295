/**
 * The way back from the control plane of a local cluster to pods: it has no routing agent, so each node writes there
 * where its further blocks are. Those that nodes have from the beginning were written when the cluster was made.
 */
import { closeNetns, openNetns } from '../kernel/netns.ts';
import { openRoute, type Route } from '../kernel/route.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

export interface ControlRoutesOptions {
  /** Path of the control plane's namespace. */
  readonly netns: string;
  /** Its link to the nodes. */
  readonly uplink: string;
  /** Of this node. */
  readonly addresses: readonly string[];
  readonly log: Log;
}

/** @returns call it with the blocks that this node has now */
export function createControlRoutes(options: ControlRoutesOptions): (blocks: readonly string[]) => void {
  const { netns, uplink, addresses, log } = options;
  const written = new Map<string, string>();
  const viaOf = (cidr: string) => addresses.find((address) => address.includes(':') === cidr.includes(':'));

  function inControlPlane(work: (route: Route) => void): void {
    const ns = openNetns(netns);
    try {
      const route = openRoute(ns);
      try {
        work(route);
      } finally {
        route.close();
      }
    } finally {
      closeNetns(ns);
    }
  }

  return (blocks) => {
    const added = blocks.filter((cidr) => !written.has(cidr));
    const gone = [...written].filter(([cidr]) => !blocks.includes(cidr));
    if (added.length === 0 && gone.length === 0) return;
    try {
      inControlPlane((route) => {
        const there = route.routes();
        // Another node may have the block by now: its route stays.
        for (const [cidr, via] of gone) {
          if (there.some((entry) => entry.dst === cidr && entry.via === via))
            route.deleteRoute({ dst: cidr, dev: uplink });
          written.delete(cidr);
        }
        for (const dst of added) {
          const via = viaOf(dst);
          if (via === undefined) continue;
          route.replaceRoute({ dst, via, dev: uplink });
          written.set(dst, via);
        }
      });
    } catch (error) {
      log.warn('the control plane does not know the way to a block of pods', { error: errorText(error) });
    }
  };
}
