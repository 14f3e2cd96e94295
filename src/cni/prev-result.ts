/** The result of the plugins before ours in a list: what they made, and ours added to it. */
import { isObject } from '../lib/json.ts';
import { formatCidr, tryCanonical, tryParseCidr } from '../lib/ip.ts';
import { CniCode, CniError } from './error.ts';
import type { CniInterface, CniIp, CniRequest, CniResult, CniRoute, Dns } from './types.ts';

/** Undefined where there is none. @throws CniError decode */
export function prevResultOf({ config }: CniRequest): CniResult | undefined {
  const { prevResult } = config;
  if (prevResult === undefined || prevResult === null) return undefined;
  if (!isObject(prevResult)) throw bad('is not an object');
  for (const key of ['interfaces', 'ips', 'routes'])
    if (!(prevResult[key] ?? []) || !Array.isArray(prevResult[key] ?? []))
      throw bad(`has ${key} that are no list`);
  const ips = (prevResult['ips'] ?? []) as unknown[];
  if (ips.some((ip) => !isObject(ip) || typeof ip['address'] !== 'string'))
    throw bad('has ips without an address');
  const interfaces = (prevResult['interfaces'] ?? []) as unknown[];
  if (interfaces.some((one) => !isObject(one) || typeof one['name'] !== 'string'))
    throw bad('has interfaces without a name');
  return prevResult as unknown as CniResult;
}

const bad = (what: string): CniError => new CniError(CniCode.decode, `prevResult ${what}`);

/** The container's interface of this request, where an earlier plugin made it: its place in `interfaces`. */
export function interfaceIn(prev: CniResult | undefined, ifName: string): number | undefined {
  const index = (prev?.interfaces ?? []).findIndex(
    ({ name, sandbox }) => name === ifName && sandbox !== undefined && sandbox !== '',
  );
  return index < 0 ? undefined : index;
}

/** Canonical, without prefix lengths: those of the interface, and those that are said of none. */
export function addressesIn(prev: CniResult, index: number): string[] {
  return (prev.ips ?? [])
    .filter((ip) => ip.interface === undefined || ip.interface === null || ip.interface === index)
    .flatMap(({ address }) => tryCanonical(address.split('/')[0] ?? '')?.text ?? []);
}

/** Of those, the networks whose members it reaches without passing the machine. */
export function networksIn(prev: CniResult, index: number): string[] {
  const networks = (prev.ips ?? [])
    .filter((ip) => ip.interface === undefined || ip.interface === null || ip.interface === index)
    .flatMap(({ address }) => tryParseCidr(address) ?? [])
    .filter(({ family, length }) => length < (family === 4 ? 32 : 128));
  return [...new Set(networks.map(formatCidr))];
}

interface Parts {
  interfaces: CniInterface[];
  /** `interface` counts from the first of `interfaces`. */
  ips: CniIp[];
  routes: CniRoute[];
  dns: Dns;
}

/** Ours after theirs; ours of DNS where there is any. */
export function mergeResults(prev: CniResult | undefined, ours: Parts, cniVersion: string): CniResult {
  const shift = prev?.interfaces?.length ?? 0;
  return {
    cniVersion,
    interfaces: [...(prev?.interfaces ?? []), ...ours.interfaces],
    ips: [
      ...(prev?.ips ?? []),
      ...ours.ips.map((ip) => ({
        ...ip,
        ...(ip.interface === undefined ? {} : { interface: ip.interface + shift }),
      })),
    ],
    routes: [...(prev?.routes ?? []), ...ours.routes],
    dns: Object.keys(ours.dns).length > 0 ? ours.dns : (prev?.dns ?? {}),
  };
}
