/** What containers' own ends of links tell. Who rules a container may have changed all of it: the machine's end goes first. */
import { everyNetns } from '../../kernel/every-netns.ts';
import { closeNetns, openNetns } from '../../kernel/netns.ts';
import type { Link, Route } from '../../kernel/route.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { bare, is6, withRoute } from '../main/inside.ts';
import { type Mark, parseFullAlias } from '../names.ts';

/** The container's end. */
export interface Inside {
  readonly netns: string;
  readonly ifName: string;
  readonly kind: string | undefined;
  /** With the lengths of their networks, one per family, IPv4 first; those of the link alone left out. */
  readonly addresses: readonly string[];
}

/** A macvlan or ipvlan link on one of the machine's. */
export interface Slave {
  /** Undefined where it has no name, or none of its own. */
  readonly says: Mark | undefined;
  readonly inside: Inside;
}

export interface Insides {
  /** By index of the machine's end. */
  readonly ends: ReadonlyMap<number, Inside>;
  readonly slaves: readonly Slave[];
  /** Where each address is, on links that lead to the machine. */
  readonly addresses: ReadonlyMap<string, string>;
}

export interface LookDeps {
  readonly node: Route;
  readonly log: Pick<Log, 'warn'>;
}

/** Every namespace that can be found is visited once. One that cannot be looked into is told, and keeps nobody waiting. */
export function lookInside({ node, log }: LookDeps, links: readonly Link[]): Insides {
  const ends = new Map<number, Inside>();
  const slaves: Slave[] = [];
  const addresses = new Map<string, string>();
  const byEnd = new Map(links.map((link) => [`${link.peerNamespace} ${link.peer}`, link]));
  for (const path of everyNetns().values())
    visit(path, (route, there) => {
      const inThere = route.links();
      // What links in there call the machine's namespace: naming them may have given it the name.
      const back = route.namespaceId(node.ns);
      if (back === undefined) return;
      const here = route.addresses();
      for (const link of inThere) {
        // Who makes links between namespaces of its own has nothing to do with the machine.
        if (link.peerNamespace !== back) continue;
        const isSlave = link.kind === 'macvlan' || link.kind === 'ipvlan';
        if (!isSlave && link.kind !== 'veth') continue;
        const inside = insideOf(path, link, here);
        for (const address of inside.addresses)
          if (!addresses.has(bare(address))) addresses.set(bare(address), path);
        const end = isSlave || there === undefined ? undefined : byEnd.get(`${there} ${link.index}`);
        if (end && end.index === link.peer) ends.set(end.index, inside);
        const says = isSlave ? parseFullAlias(link.alias) : undefined;
        if (isSlave) slaves.push({ says: says?.attachment.ifName === link.name ? says : undefined, inside });
      }
    });
  return { ends, slaves, addresses };

  function visit(path: string, use: (route: Route, there: number | undefined) => void): void {
    let ns;
    try {
      ns = openNetns(path);
    } catch {
      return;
    }
    try {
      withRoute(ns, (route) => use(route, node.namespaceId(ns)));
    } catch (error) {
      // Gone meanwhile, or not ours to look into. Who changes it all the time is not waited for.
      if (!/ENOENT|EPERM|EINVAL|ENODEV/.test(errorText(error)))
        log.warn('cannot look into a network namespace', { netns: path, error: errorText(error) });
    } finally {
      closeNetns(ns);
    }
  }
}

function insideOf(
  netns: string,
  { index, name, kind }: Link,
  all: readonly { link: number; address: string }[],
): Inside {
  const own = all.flatMap(({ link, address }) =>
    link === index && !address.startsWith('fe80:') ? [address] : [],
  );
  const firstOf = (six: boolean) => own.filter((address) => is6(address) === six).slice(0, 1);
  return { netns, ifName: name, kind, addresses: [...firstOf(false), ...firstOf(true)] };
}
