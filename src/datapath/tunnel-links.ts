/** The node's own links of tunnels: what each must be, and making it so. */
import type { RouteTunnelOptions, VxlanOptions } from '../kernel/route.ts';
import { HeddleError } from '../lib/errors.ts';
import type { Difference } from './backend.ts';
import { type Encapsulation, type Tunnel, TUNNELS } from './encapsulation.ts';
import { GENEVE_PORT, TUNNEL_LINKS } from './routing.ts';

export interface TunnelLink {
  readonly index: number;
  readonly name: string;
  readonly kind: string | undefined;
  readonly up: boolean;
  readonly mtu: number;
  readonly mac: string;
  readonly alias: string | undefined;
  readonly vxlan: { vni: number; port: number; local: string | undefined } | undefined;
  readonly tunnel: { readonly byRoute: boolean; readonly port: number | undefined } | undefined;
}

/** The part of kernel/route.ts that this uses. */
export interface TunnelLinkRoute {
  link(name: string): TunnelLink | undefined;
  addVxlan(options: VxlanOptions): void;
  addRouteTunnel(options: RouteTunnelOptions): void;
  setLink(
    name: string,
    change: { up?: boolean; mtu?: number; mac?: string; alias?: string; ipv6Addresses?: 'none' },
  ): void;
  deleteLink(name: string): boolean;
}

export interface TunnelLinksOptions {
  vni: number;
  /** Of VXLAN. */
  port: number;
  /** Underlay address that is this end. */
  local: string;
  /** Of this end, where inner packets are frames. */
  mac: string;
  mtu(encapsulation: Encapsulation): number;
}

const ALIAS = 'heddle:overlay';

/** `taken`: by a link that was not made here. */
type Problem = 'missing' | 'other' | 'settings' | 'taken';

/** Somebody else's link has the name of ours. @throws HeddleError `TunnelNameTaken` */
export function refuseTaken(route: Pick<TunnelLinkRoute, 'link'>, tunnel: Tunnel): void {
  const link = route.link(TUNNEL_LINKS[tunnel]);
  if (link && link.alias !== ALIAS) throw taken(link);
}

const taken = ({ name, kind = 'other', alias }: TunnelLink): HeddleError =>
  new HeddleError(
    'TunnelNameTaken',
    `the link ${name} (${kind}${alias === undefined ? '' : `, "${alias}"`}) was not made here, and the tunnel to other nodes needs its name`,
    { hint: `remove or rename it (ip link set ${name} down name …), or choose another way between nodes` },
  );

export interface TunnelLinks {
  /**
   * Makes those that are missing and mends the others; leaves those that are not `wanted`.
   * @throws HeddleError `TunnelNameTaken` before anything is touched
   */
  mend(wanted: readonly Tunnel[]): Difference[];
  /** Removes ours that are not `wanted`. */
  removeOthers(wanted: readonly Tunnel[]): Difference[];
  verify(wanted: readonly Tunnel[]): Difference[];
}

export function createTunnelLinks(route: TunnelLinkRoute, options: TunnelLinksOptions): TunnelLinks {
  const { vni, port, local, mac } = options;
  const isIpv6 = local.includes(':');
  const greKind = isIpv6 ? 'ip6gre' : 'gre';
  const hasMac = (tunnel: Tunnel): boolean => tunnel !== 'gre';

  function isSame(tunnel: Tunnel, link: TunnelLink): boolean {
    if (tunnel === 'vxlan')
      return (
        link.kind === 'vxlan' &&
        link.vxlan?.vni === vni &&
        link.vxlan.port === port &&
        link.vxlan.local === local
      );
    if (!link.tunnel?.byRoute) return false;
    return tunnel === 'geneve'
      ? link.kind === 'geneve' && link.tunnel.port === GENEVE_PORT
      : link.kind === greKind;
  }

  function problemOf(tunnel: Tunnel): Problem | undefined {
    const link = route.link(TUNNEL_LINKS[tunnel]);
    if (!link) return 'missing';
    // An alias comes by a message of its own: who was killed before it left a link that is not up yet.
    const isHalfMade = link.alias === undefined && !link.up && isSame(tunnel, link);
    if (link.alias !== ALIAS) return isHalfMade ? 'settings' : 'taken';
    if (!isSame(tunnel, link)) return 'other';
    const right = link.up && link.mtu === options.mtu(tunnel) && (!hasMac(tunnel) || link.mac === mac);
    return right ? undefined : 'settings';
  }

  function make(tunnel: Tunnel): void {
    const common = { name: TUNNEL_LINKS[tunnel], mtu: options.mtu(tunnel), alias: ALIAS };
    if (tunnel === 'vxlan') route.addVxlan({ ...common, vni, port, local, mac });
    else if (tunnel === 'geneve') route.addRouteTunnel({ ...common, kind: 'geneve', port: GENEVE_PORT, mac });
    else route.addRouteTunnel({ ...common, kind: greKind });
    route.setLink(common.name, { ipv6Addresses: 'none' });
  }

  function mendOne(tunnel: Tunnel): Difference[] {
    const problem = problemOf(tunnel);
    if (problem === undefined) return [];
    const name = TUNNEL_LINKS[tunnel];
    if (problem === 'other') route.deleteLink(name);
    if (problem !== 'settings') make(tunnel);
    const mtu = options.mtu(tunnel);
    if (problem === 'settings') route.setLink(name, { alias: ALIAS, ipv6Addresses: 'none' });
    route.setLink(name, { ...(hasMac(tunnel) ? { mac } : {}), mtu, up: true });
    return [difference(problem, name)];
  }

  const others = (wanted: readonly Tunnel[]): string[] =>
    TUNNELS.filter((tunnel) => !wanted.includes(tunnel))
      .map((tunnel) => TUNNEL_LINKS[tunnel])
      .filter((name) => route.link(name)?.alias === ALIAS);

  return {
    mend(wanted) {
      for (const tunnel of wanted) if (problemOf(tunnel) === 'taken') refuseTaken(route, tunnel);
      return wanted.flatMap(mendOne);
    },
    removeOthers: (wanted) =>
      others(wanted).map((name) => {
        route.deleteLink(name);
        return { kind: 'foreign', what: `link ${name}` };
      }),
    verify: (wanted) => [
      ...wanted.flatMap((tunnel) => {
        const problem = problemOf(tunnel);
        return problem ? [difference(problem, TUNNEL_LINKS[tunnel])] : [];
      }),
      ...others(wanted).map((name) => ({ kind: 'foreign' as const, what: `link ${name}` })),
    ],
  };
}

const difference = (problem: Problem, name: string): Difference => ({
  kind: problem === 'missing' ? 'missing' : 'changed',
  what: problem === 'taken' ? `link ${name}, which was not made here` : `link ${name}`,
});
