/** Which ways between nodes this kernel has, asked of it in a scratch namespace that is gone afterwards. */
import { errorText } from '../lib/errors.ts';
import type { Feature } from './features.ts';
import { inScratchNetns } from './netns.ts';
import { openRoute, type Route } from './route.ts';

export type TunnelFeatureName = 'vxlan' | 'geneve' | 'gre' | 'ip6gre';

export type TunnelFeatures = Readonly<Record<TunnelFeatureName, Feature>>;

interface Check {
  readonly purpose: string;
  readonly hint: string;
  /** Throws where the kernel lacks it. */
  try(route: Route): void;
}

const BY_ROUTE = 'CONFIG_LWTUNNEL, by which routes say where a tunnel leads';

/** Documentation addresses (RFC 5737, RFC 3849): nothing is sent. */
const ends = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;

/** A link, and a route that leads through it: one is of no use without the other. */
const byRoute = (kind: 'geneve' | 'gre' | 'ip6gre') => (route: Route) => {
  const name = `probe-${kind}`;
  route.addRouteTunnel({ name, kind, ...(kind === 'geneve' ? { port: 6081 } : {}) });
  route.setLink(name, { up: true });
  const tunnel = { id: 1, dst: ends[kind === 'ip6gre' ? 6 : 4] };
  route.replaceRoute({ dst: '198.51.100.0/24', dev: name, tunnel });
};

const checks: Readonly<Record<TunnelFeatureName, Check>> = {
  vxlan: {
    purpose: 'VXLAN between nodes',
    hint: 'kernel option CONFIG_VXLAN (modprobe vxlan)',
    try: (route) => route.addVxlan({ name: 'probe-vx', vni: 1, port: 4789, local: '127.0.0.1' }),
  },
  geneve: {
    purpose: 'GENEVE between nodes',
    hint: `kernel options CONFIG_GENEVE (modprobe geneve) and ${BY_ROUTE}`,
    try: byRoute('geneve'),
  },
  gre: {
    purpose: 'GRE between nodes',
    hint: `kernel options CONFIG_NET_IPGRE (modprobe ip_gre) and ${BY_ROUTE}`,
    try: byRoute('gre'),
  },
  ip6gre: {
    purpose: 'GRE between nodes that have IPv6 alone',
    hint: `kernel options CONFIG_IPV6_GRE (modprobe ip6_gre) and ${BY_ROUTE}`,
    try: byRoute('ip6gre'),
  },
};

/** Takes a few milliseconds and leaves nothing behind. */
export function probeTunnels(): TunnelFeatures {
  const results = new Map<string, Feature>();
  const note = (name: string, { purpose, hint }: Check, why: string | undefined) =>
    results.set(name, { ok: why === undefined, purpose, why, hint: why === undefined ? undefined : hint });
  try {
    inScratchNetns(() => {
      const route = openRoute();
      try {
        for (const [name, check] of Object.entries(checks)) note(name, check, attempt(check, route));
      } finally {
        route.close();
      }
    });
  } catch (error) {
    for (const [name, check] of Object.entries(checks)) note(name, check, errorText(error));
  }
  return Object.fromEntries(results) as TunnelFeatures;
}

function attempt(check: Check, route: Route): string | undefined {
  try {
    check.try(route);
    return undefined;
  } catch (error) {
    return errorText(error);
  }
}
