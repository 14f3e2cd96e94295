/**
 * What IPVS leaves to rules, in the table `inet heddle-ipvs`: service addresses are the node's own for it, so ports
 * that nothing serves must be refused before the node's own servers hear of them; clients outside may have other
 * backends; and who is sent on to another node must be answered through here.
 */
import { flatten, rangeText } from '../nftables/flatten.ts';
import { mark } from '../nftables/names.ts';
import { type Chain, chain, element, type KernelObject, map, set } from '../nftables/objects.ts';
import { frontendText } from '../nftables/side.ts';
import type { ServiceFrontend, Settings } from '../plan/tables.ts';
import { isOpen, outsideOf } from './virtual.ts';

export const TABLE = 'inet heddle-ipvs';

const FAMILIES = [4, 6] as const;
type Ip = 'ip' | 'ip6';
const perFamily = (rule: (ip: Ip, family: 4 | 6) => string): string[] =>
  FAMILIES.map((family) => rule(family === 4 ? 'ip' : 'ip6', family));

const frontend = (ip: Ip): string => `${ip} daddr . meta l4proto . th dport`;
/** Not from this node, nor from a pod. */
const outside = (ip: Ip, family: 4 | 6): string => `iifname != "lo" ${ip} saddr != @client-nets${family}`;

function setsOf(family: 4 | 6): KernelObject[] {
  const address = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const key = `type ${address} . inet_proto . inet_service`;
  return [
    map(`services${family}`, `${key} : verdict`),
    map(`outside${family}`, `${key} : verdict`),
    map(`marks${family}`, `${key} : mark`),
    set(`frontends${family}`, `type ${address}`),
    set(`sources${family}`, `${key} . ${address}; flags interval`),
    set(`own${family}`, `type ${address}`),
    set(`virtual${family}`, `type ${address}`),
    ...['client-nets', 'pod-nets', 'service-nets'].map((name) =>
      set(`${name}${family}`, `type ${address}; flags interval`),
    ),
  ];
}

const rangesChain = (family: 4 | 6, then: 'accept' | 'refuse'): Chain => {
  const ip = family === 4 ? 'ip' : 'ip6';
  return chain(`ranges${family}-${then}`, [
    `${frontend(ip)} . ${ip} saddr != @sources${family} drop`,
    then === 'accept' ? 'accept' : 'goto refuse',
  ]);
};

const hooked = (name: string, hook: string, rules: readonly string[]): Chain => ({
  type: 'chain',
  name,
  hook: `${hook}; policy accept;`,
  rules,
});

export const BASE: readonly KernelObject[] = [
  ...FAMILIES.flatMap(setsOf),
  ...FAMILIES.flatMap((family) => [rangesChain(family, 'accept'), rangesChain(family, 'refuse')]),
  chain('refuse', ['meta l4proto tcp reject with tcp reset', 'reject']),
  hooked(
    'select',
    'type filter hook prerouting priority mangle',
    perFamily((ip, family) => `${outside(ip, family)} meta mark set ${frontend(ip)} map @marks${family}`),
  ),
  // Before IPVS, which comes at priority 99 of this hook.
  hooked('input', 'type filter hook input priority filter', [
    'ct state established,related accept',
    ...perFamily((ip, family) => `${outside(ip, family)} ${frontend(ip)} vmap @outside${family}`),
    ...perFamily((ip, family) => `${frontend(ip)} vmap @services${family}`),
    ...perFamily((ip, family) => `${ip} daddr @own${family} accept`),
    ...perFamily((ip, family) => `${ip} daddr @service-nets${family} jump refuse`),
    ...perFamily((ip, family) => `${ip} daddr @virtual${family} jump refuse`),
  ]),
];

export function settingsObjects(settings: Settings | undefined): KernelObject[] {
  if (!settings) return [postrouting([])];
  return [
    ...ranges('client-nets', settings.podCidrs),
    ...ranges('pod-nets', settings.nodePodCidrs),
    ...ranges('service-nets', settings.serviceCidrs),
    ...(settings.nodeLocal ?? []).map((address) => element(`own${familyOf(address)}`, address)),
    postrouting(settings.nodeAddresses),
  ];
}

/** Pods of this node see who asks; a backend elsewhere would answer the client straight. */
function postrouting(nodeAddresses: readonly string[]): Chain {
  const rules = FAMILIES.flatMap((family) => {
    const node = nodeAddresses.find((address) => familyOf(address) === family);
    const ip = family === 4 ? 'ip' : 'ip6';
    if (node === undefined) return [];
    const relayed = `ct original ${ip} daddr @frontends${family}`;
    const away = `${ip} saddr != @pod-nets${family} ${ip} daddr != @pod-nets${family}`;
    return [`${relayed} ${away} snat ${ip} to ${node}`];
  });
  return hooked('postrouting', 'type nat hook postrouting priority srcnat', rules);
}

function ranges(name: string, cidrs: readonly string[]): KernelObject[] {
  return flatten(cidrs.map((cidr) => [cidr, true] as const)).map((range) =>
    element(`${name}${range.family}`, rangeText(range)),
  );
}

export const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);

/** Addresses of these are the node's own by a local route, see addresses.ts. */
const isVirtual = ({ kind }: ServiceFrontend): boolean => kind === 'LoadBalancer' || kind === 'ExternalIP';

/** @param number the firewall mark of what clients outside get, where it is something else */
export function frontendObjects(each: ServiceFrontend, number: number): KernelObject[] {
  const family = familyOf(each.address);
  const key = frontendText(each);
  const external = outsideOf(each);
  const closed = each.whenEmpty === 'drop' ? 'drop' : 'goto refuse';
  const verdict = isOpen(each.backends) ? 'accept' : closed;
  const objects = [
    element(`services${family}`, key, verdict),
    element(`frontends${family}`, each.address),
    ...(isVirtual(each) ? [element(`virtual${family}`, each.address)] : []),
  ];
  if (!external && !each.sourceRanges) return objects;
  const target = isOpen(external ?? each.backends) ? 'accept' : closed;
  objects.push(element(`outside${family}`, key, each.sourceRanges ? limited(family, target) : target));
  if (external && isOpen(external)) objects.push(element(`marks${family}`, key, mark(number)));
  const list = (each.sourceRanges ?? []).map((cidr) => [cidr, true] as const);
  for (const range of flatten(list))
    if (range.family === family) objects.push(element(`sources${family}`, `${key} . ${rangeText(range)}`));
  return objects;
}

const limited = (family: 4 | 6, target: string): string =>
  target === 'drop' ? 'drop' : `goto ranges${family}-${target === 'accept' ? 'accept' : 'refuse'}`;
