/** What the plan says of the way between nodes, as names of links and numbers on the wire. */
import type { Encapsulation, Tunnel } from './encapsulation.ts';
import { TUNNELS } from './encapsulation.ts';
import type { Routing, Settings } from './plan/tables.ts';

export const TUNNEL_LINKS: Readonly<Record<Tunnel, string>> = {
  vxlan: 'vxlan0',
  geneve: 'geneve0',
  // Not gre0: that name is the kernel's own, in every namespace.
  gre: 'gretun0',
};

/** RFC 8926 section 3.3, as IANA has it. */
export const GENEVE_PORT = 6081;

const BY_VXLAN: Routing = { sends: 'vxlan', accepts: ['vxlan'] };

export const routingOf = (settings: Pick<Settings, 'routing'> | undefined): Routing =>
  settings?.routing ?? BY_VXLAN;

const isTunnel = (way: Encapsulation): way is Tunnel => way !== 'native';

/** Those that a node has links for, in a fixed order. */
export function tunnelsOf(settings: Pick<Settings, 'routing'> | undefined): Tunnel[] {
  const { sends, accepts } = routingOf(settings);
  return TUNNELS.filter((tunnel) => sends === tunnel || accepts.some((way) => way === tunnel));
}

/** What pods of other nodes send as it is, is let in. */
export function acceptsNative(settings: Pick<Settings, 'routing'> | undefined): boolean {
  const { sends, accepts } = routingOf(settings);
  return sends === 'native' || accepts.includes('native');
}

/** Name of the link by which packets leave for other nodes; undefined: the uplink. */
export function sendingLink(settings: Pick<Settings, 'routing'> | undefined): string | undefined {
  const { sends } = routingOf(settings);
  return isTunnel(sends) ? TUNNEL_LINKS[sends] : undefined;
}

/** What comes from nobody but ends of other nodes' tunnels. */
export interface TunnelMarks {
  readonly udpPorts: readonly number[];
  readonly gre: boolean;
}

export function tunnelMarks(settings: Pick<Settings, 'routing' | 'tunnelPort'>): TunnelMarks {
  const tunnels = tunnelsOf(settings);
  return {
    udpPorts: [
      ...(tunnels.includes('vxlan') ? [settings.tunnelPort] : []),
      ...(tunnels.includes('geneve') ? [GENEVE_PORT] : []),
    ],
    gre: tunnels.includes('gre'),
  };
}
