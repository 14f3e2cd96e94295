/** Routes that a speaker has of its own: a pod range, a load balancer's address. */
import { formatCidr, parseCidr } from '../lib/ip.ts';
import { checkCommunity } from './rib/filter-check.ts';
import type { LocalRoute } from './rib/table.ts';
import type { PathAttributes } from './wire/attributes.ts';

export interface Advertisement {
  readonly prefix: string;
  /** `65000:100`, or `65000:1:2` for a large one. */
  readonly communities?: readonly string[];
  /** For internal peers. Default 100. */
  readonly localPref?: number;
  readonly med?: number;
  /** Names of the peers that are told. Default: all. Several advertisements of a prefix have different peers. */
  readonly peers?: readonly string[];
}

/** One for each prefix. @throws HeddleError `BadCidr`, `BgpFilter` */
export function localRoutes(advertisements: readonly Advertisement[]): LocalRoute[] {
  const routes = new Map<string, LocalRoute & { only?: Map<string, PathAttributes> }>();
  for (const advertisement of advertisements) {
    const prefix = formatCidr(parseCidr(advertisement.prefix));
    const attributes = attributesOf(advertisement);
    const route = routes.get(prefix) ?? { prefix, attributes };
    routes.set(prefix, route);
    if (!advertisement.peers) continue;
    route.only ??= new Map();
    for (const peer of advertisement.peers) route.only.set(peer, attributes);
  }
  return [...routes.values()];
}

function attributesOf({ prefix, communities = [], localPref, med }: Advertisement): PathAttributes {
  for (const community of communities) checkCommunity(community, `the advertisement of ${prefix}`);
  const isLarge = (community: string) => community.split(':').length === 3;
  return {
    origin: 'igp',
    asPath: [],
    localPref,
    med,
    communities: communities.filter((one) => !isLarge(one)),
    largeCommunities: communities.filter(isLarge),
  };
}
