/** Which versions of the specification are spoken, and what a result looks like in each. */
import { CniCode, CniError } from './error.ts';
import type { CniInterface, CniIp, CniResult, CniRoute } from './types.ts';

export const SUPPORTED_VERSIONS = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export const LATEST_VERSION = '1.1.0';

/** @throws CniError incompatibleVersion */
export function checkVersion(asked: string | undefined): string {
  const version = asked ?? '';
  if ((SUPPORTED_VERSIONS as readonly string[]).includes(version)) return version;
  throw new CniError(
    CniCode.incompatibleVersion,
    `cniVersion "${version}" is not spoken; expected one of ${SUPPORTED_VERSIONS.join(', ')}`,
  );
}

export const atLeast = (version: string, floor: (typeof SUPPORTED_VERSIONS)[number]): boolean =>
  (SUPPORTED_VERSIONS as readonly string[]).indexOf(version) >= SUPPORTED_VERSIONS.indexOf(floor);

/** The newest version of a list that we speak too. @throws CniError incompatibleVersion */
export function newestOf({
  cniVersion,
  cniVersions = [],
}: {
  cniVersion?: string;
  cniVersions?: string[];
}): string {
  const offered =
    cniVersion === undefined && cniVersions.length === 0 ? [LATEST_VERSION] : [cniVersion, ...cniVersions];
  return SUPPORTED_VERSIONS.findLast((version) => offered.includes(version)) ?? checkVersion(cniVersion);
}

/** The same result in the words of `version`. */
export function resultAs(result: CniResult, version: string): CniResult {
  const { interfaces, ips, routes, dns } = result;
  return {
    cniVersion: version,
    ...(interfaces ? { interfaces: interfaces.map((i) => interfaceAs(i, version)) } : {}),
    ...(ips ? { ips: ips.map((ip) => ipAs(ip, version)) } : {}),
    ...(routes ? { routes: routes.map((route) => routeAs(route, version)) } : {}),
    dns: dns ?? {},
  };
}

function interfaceAs(one: CniInterface, version: string): CniInterface {
  if (atLeast(version, '1.1.0')) return { ...one };
  const { name, mac, sandbox } = one;
  return { name, ...(mac === undefined ? {} : { mac }), ...(sandbox === undefined ? {} : { sandbox }) };
}

function routeAs(route: CniRoute, version: string): CniRoute {
  if (atLeast(version, '1.1.0')) return { ...route };
  const { dst, gw } = route;
  return { dst, ...(gw === undefined ? {} : { gw }) };
}

function ipAs(ip: CniIp, version: string): CniIp {
  const { version: _, ...rest } = ip;
  return atLeast(version, '1.0.0') ? rest : { version: ip.address.includes(':') ? '6' : '4', ...rest };
}
