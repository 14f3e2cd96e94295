/** macvlan and ipvlan: the container has a link of its own on one of the machine's, and nothing on the machine. */
import type { IpvlanMode, MacvlanMode, Route } from '../../kernel/route.ts';
import { openRoute } from '../../kernel/route.ts';
import { HeddleError } from '../../lib/errors.ts';
import { CniCode, CniError } from '../error.ts';
import type { Lease } from '../leases/types.ts';
import { macAddresses, parseFullAlias } from '../names.ts';
import type { Attachment } from '../types.ts';
import { ipvlanOf, macvlanOf, type SlaveConfig } from './config.ts';
import { bringUp, giveAddresses, giveRoutes, linkInside, withRoute } from './inside.ts';
import type { Main, MainContext, MadeLink, Settled } from './types.ts';

const common = {
  masquerade: false,
  checkMac: false,
  disabled: false,
  routed: false,
  shared: true,
  settle,
} as const;

export function macvlanMain({ request }: MainContext): Main {
  const config = macvlanOf(request.config);
  return {
    ...common,
    kind: 'macvlan',
    make: (context) =>
      make(context, config, (route, base) =>
        route.addMacvlan({
          ...base,
          mode: config.mode satisfies MacvlanMode,
          // In passthru it has the address of its master.
          ...(config.mode === 'passthru' ? {} : { mac: context.mac ?? macAddresses(request).pod }),
        }),
      ),
  };
}

export function ipvlanMain({ request, mac }: MainContext): Main {
  const config = ipvlanOf(request.config);
  if (mac !== undefined)
    throw new CniError(
      CniCode.unsupportedField,
      `mac "${mac}" is not supported: an ipvlan link has its master's`,
    );
  return {
    ...common,
    kind: 'ipvlan',
    make: (context) =>
      make(context, config, (route, base) =>
        route.addIpvlan({ ...base, mode: config.mode satisfies IpvlanMode }),
      ),
  };
}

type Base = Parameters<Route['addMacvlan']>[0];
type Add = (route: Route, base: Omit<Base, 'mode'>) => void;

function make(context: MainContext, config: SlaveConfig<string>, add: Add): MadeLink {
  const { request, netns, node, mtu } = context;
  const inside = { netns, ifName: request.ifName };
  const route = config.linkInContainer ? openRoute(netns) : node;
  try {
    const master = masterOf(route, config);
    const most = route.link(master)?.mtu ?? 0;
    if (mtu !== undefined && mtu > most)
      throw new CniError(CniCode.invalidConfig, `mtu ${mtu} is larger than ${most}, that of ${master}`);
    try {
      add(route, {
        name: request.ifName,
        master,
        ...(mtu === undefined ? {} : { mtu }),
        ...(config.linkInContainer ? {} : { netns }),
      });
    } catch (error) {
      throw lacking(error, request.config.type ?? '');
    }
  } finally {
    if (config.linkInContainer) route.close();
  }
  const link = linkInside(inside);
  return {
    interfaces: [{ name: request.ifName, mac: link.mac, mtu: link.mtu, sandbox: request.netns }],
    host: undefined,
  };
}

function masterOf(route: Route, { master, linkInContainer }: SlaveConfig<string>): string {
  const where = linkInContainer ? 'in the container' : 'on this machine';
  if (master !== undefined) {
    if (route.link(master)) return master;
    throw new CniError(CniCode.invalidConfig, `master "${master}" is no link ${where}`);
  }
  const way = route
    .routes()
    .filter(
      ({ dst, table, dev }) => (dst === '0.0.0.0/0' || dst === '::/0') && table === 254 && dev !== undefined,
    )
    .toSorted((a, b) => a.metric - b.metric)[0];
  const found = route.links().find(({ index }) => index === way?.dev);
  if (found) return found.name;
  throw new CniError(
    CniCode.invalidConfig,
    `master is not given, and there is no default route ${where} to take it from`,
  );
}

/** Not every kernel has these links. */
function lacking(error: unknown, type: string): unknown {
  if (error instanceof HeddleError && /EOPNOTSUPP|ENOTSUP/.test(error.message))
    return new CniError(
      CniCode.unsupportedField,
      `type "${type}" is not supported: this machine's kernel has no ${type.replace('heddle-', '')} links`,
      error.message,
      { cause: error },
    );
  return error;
}

function settle({ request, netns }: MainContext, _made: MadeLink, lease: Lease): Settled {
  const inside = { netns, ifName: request.ifName };
  giveAddresses(
    inside,
    lease.addresses.map(({ address }) => address),
  );
  bringUp(inside);
  giveRoutes(inside, lease.routes, lease);
  const gateways = lease.addresses.flatMap(({ address, gateway }) =>
    gateway === undefined ? [] : [[address, gateway] as const],
  );
  return { routes: lease.routes, gateways: new Map(gateways) };
}

/** Nothing happens where it is gone, or another's: `/proc/PID/ns/net` may be somebody else's by now. */
export function removeSlave(netns: MainContext['netns'], { containerId, ifName }: Attachment): void {
  withRoute(netns, (route) => {
    const { kind, alias } = route.link(ifName) ?? {};
    if (kind !== 'macvlan' && kind !== 'ipvlan') return;
    const says = parseFullAlias(alias);
    if (says === undefined || says.attachment.containerId === containerId) route.deleteLink(ifName);
  });
}
