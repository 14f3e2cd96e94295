/** The machine's settings without which no packet of a container is forwarded. */
import { readSysctl, writeSysctl } from '../../kernel/sysctl.ts';
import type { Netns } from '../../kernel/netns.ts';
import type { Log } from '../../lib/log.ts';

const FORWARD = { 4: 'net.ipv4.ip_forward', 6: 'net.ipv6.conf.all.forwarding' } as const;

export interface ForwardingDeps {
  ns?: Netns | undefined;
  /** Names of the links that are there. */
  links: readonly string[];
  log: Log;
}

/**
 * They stay when the agent ends: its containers go on. A link that learns its routes from router advertisements would
 * stop doing so when the machine forwards (accept_ra 1): it is told to go on (2) first.
 * @throws HeddleError `Sysctl`
 */
export function enableForwarding(families: ReadonlySet<4 | 6>, { ns, links, log }: ForwardingDeps): void {
  for (const family of families) {
    if (readSysctl(ns, FORWARD[family]) === '1') continue;
    if (family === 6) keepRouterAdvertisements(links, ns);
    writeSysctl(ns, FORWARD[family], 1);
    log.info('forwarding is on from now', { setting: FORWARD[family] });
  }
}

function keepRouterAdvertisements(links: readonly string[], ns: Netns | undefined): void {
  for (const link of links) {
    const key = `net/ipv6/conf/${link}/accept_ra`;
    if (link !== 'lo' && readSysctl(ns, key) === '1') writeSysctl(ns, key, 2);
  }
}

/** The families that are not forwarded though they should be. */
export const notForwarded = (families: ReadonlySet<4 | 6>, ns?: Netns): string[] =>
  [...families].map((family) => FORWARD[family]).filter((key) => readSysctl(ns, key) !== '1');
