/** What every node has, whatever its plan: sets and maps, and the chains on the kernel's hooks. */
import type { Direction } from '../../policy/decision.ts';
import { dropAs, dropCounters } from './drops.ts';
import { peerOf } from './names.ts';
import type { Chain, KernelObject } from './objects.ts';
import { chain, map, set } from './objects.ts';

const address = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const FAMILIES = [4, 6] as const;

/** Ranges of ports are looked up several times slower than single ones. */
export const SPAN_MAP_SPEC = 'type mark . inet_proto . inet_service : verdict; flags interval';
export const PORT_MAP_SPEC = 'type mark . inet_proto . inet_service : verdict';
export const ANY_MAP_SPEC = 'type mark : verdict';

function setsOf(family: 4 | 6): KernelObject[] {
  const ip = address[family];
  return [
    map(`hosts${family}`, `type ${ip} : mark`),
    map(`nets${family}`, `type ${ip} : mark; flags interval`),
    map(`egress${family}`, `type ${ip} : verdict`),
    map(`ingress${family}`, `type ${ip} : verdict`),
    set(`self${family}`, `type ${ip} . ${ip}`),
    set(`origins${family}`, `type ifname . ${ip}`),
    set(`service-nets${family}`, `type ${ip}; flags interval`),
    set(`cluster-nets${family}`, `type ${ip}; flags interval`),
    set(`tunnels${family}`, `type ${ip}`),
    set(`denied${family}`, `type ${ip}; flags interval`),
    set(`heard${family}`, `type ${ip}`),
    set(`pod-nets${family}`, `type ${ip}; flags interval`),
    set(`remote-nets${family}`, `type ${ip}; flags interval`),
    set(`remote-senders${family}`, `type ${ip} . ether_addr; flags interval`),
  ];
}

function serviceSetsOf(family: 4 | 6): KernelObject[] {
  const ip = address[family];
  const frontend = `type ${ip} . inet_proto . inet_service`;
  return [
    map(`services${family}`, `${frontend} : verdict`),
    map(`outside${family}`, `${frontend} : verdict`),
    map(`backends${family}`, `${frontend} . mark : ${ip} . inet_service`),
    map(`numbers${family}`, `${frontend} . mark : mark`),
    map(`stays${family}`, `${frontend} . mark : verdict`),
    map(`pinned${family}`, `${frontend} . mark : ${ip} . inet_service`),
    set(`sources${family}`, `${frontend} . ${ip}; flags interval`),
    set(`client-nets${family}`, `type ${ip}; flags interval`),
  ];
}

const base = (name: string, hook: string, rules: readonly string[]): Chain => ({
  type: 'chain',
  name,
  hook: `${hook} policy accept;`,
  rules,
});

/**
 * Both ends of a packet looked up in the direction of its connection: replies have their ends swapped. Who the peer
 * is, a policy asks itself (`peer-…`): most packets meet none, or one.
 */
function policyChains(family: 4 | 6): Chain[] {
  const ip = family === 4 ? 'ip' : 'ip6';
  const check = (client: 'saddr' | 'daddr', server: 'saddr' | 'daddr') => [
    `${ip} ${client} vmap @egress${family}`,
    `${ip} ${server} vmap @ingress${family}`,
  ];
  const identify = (end: 'saddr' | 'daddr') =>
    chain(`${end}${family}`, [
      `meta mark set ${ip} ${end} map @hosts${family} return`,
      `meta mark set ${ip} ${end} map @nets${family} return`,
      'meta mark set 0x00000000',
    ]);
  return [
    chain(`request${family}`, check('saddr', 'daddr')),
    chain(`reply${family}`, check('daddr', 'saddr')),
    identify('saddr'),
    identify('daddr'),
  ];
}

const peerChain = (direction: Direction): Chain => {
  const [request, reply] = direction === 'egress' ? ['daddr', 'saddr'] : ['saddr', 'daddr'];
  return chain(peerOf(direction), [
    ...FAMILIES.map((family) => `ct direction original meta nfproto ipv${family} goto ${request}${family}`),
    ...FAMILIES.map((family) => `ct direction reply meta nfproto ipv${family} goto ${reply}${family}`),
  ]);
};

const perFamily = (rule: (ip: 'ip' | 'ip6', family: 4 | 6) => string): string[] =>
  FAMILIES.map((family) => rule(family === 4 ? 'ip' : 'ip6', family));

const toService = perFamily((ip, family) => `${ip} daddr . meta l4proto . th dport vmap @services${family}`);

const outsideFirst = perFamily(
  (ip, family) =>
    `${ip} saddr != @client-nets${family} ${ip} daddr . meta l4proto . th dport vmap @outside${family}`,
);

const SERVICES: readonly KernelObject[] = [
  ...FAMILIES.flatMap(serviceSetsOf),
  base('prerouting', 'type nat hook prerouting priority dstnat;', [...outsideFirst, ...toService]),
  base('nat-output', 'type nat hook output priority -100;', toService),
];

/** What a table is for beside policy. */
export interface TableUse {
  /** Translates services; else another part does. */
  readonly services: boolean;
  /** The other part sends requests of pods and of others on from the output hook, as IPVS does. */
  readonly relayed: boolean;
  /** Without a tunnel, who sends for pods of another node is asked for his link address (senders.ts). */
  readonly linkAddresses: boolean;
}

/**
 * `postrouting` is not here: it says this node's addresses, see lower-settings.ts. What no service has is refused by
 * whoever has the services: some of it he drops.
 */
export const baseObjects = ({
  services,
  relayed,
}: Pick<TableUse, 'services' | 'relayed'>): readonly KernelObject[] => [
  ...BASE,
  forward(services ? unserved : []),
  base(
    'output',
    'type filter hook output priority filter;',
    services ? unserved.map((rule) => `oifname != "lo" ${rule}`) : [],
  ),
  ...(services ? SERVICES : []),
  ...(relayed ? [RELAYED] : []),
];

/** What is refused is never established. */
const unserved = perFamily((ip, family) => `ct state new ${ip} daddr @service-nets${family} jump refuse`);

const judge: readonly string[] = [
  // ICMP errors about connections that are known.
  'ct state related accept',
  ...perFamily((ip, family) => `${ip} saddr . ${ip} daddr @self${family} accept`),
  ...FAMILIES.flatMap((family) => [
    `ct direction original meta nfproto ipv${family} jump request${family}`,
    `ct direction reply meta nfproto ipv${family} jump reply${family}`,
  ]),
  'meta mark set 0x00000000',
];

/** What this node sends itself has one of its own addresses; whatever else is here, somebody sent through it. */
const RELAYED: KernelObject = base('relayed', 'type filter hook output priority filter;', [
  'fib saddr type local accept',
  'ct state invalid,untracked drop',
  ...judge,
]);

const BASE: readonly KernelObject[] = [
  ...FAMILIES.flatMap(setsOf),
  ...FAMILIES.flatMap(policyChains),
  peerChain('egress'),
  peerChain('ingress'),
  chain('refuse', ['meta l4proto tcp reject with tcp reset', 'reject']),
  base('origin', 'type filter hook prerouting priority raw;', [
    `iifname @interfaces icmp type router-advertisement ${dropAs('router-advertisement')}`,
    `iifname @interfaces icmp type redirect ${dropAs('redirect')}`,
    `iifname @interfaces icmpv6 type nd-router-advert ${dropAs('router-advertisement')}`,
    `iifname @interfaces icmpv6 type nd-redirect ${dropAs('redirect')}`,
    `iifname @known-senders iifname . ether saddr != @senders ${dropAs('wrong-mac')}`,
    `iifname @interfaces iifname . ip saddr != @origins4 ${dropAs('spoofed')}`,
    `iifname @interfaces ip6 saddr != fe80::/10 iifname . ip6 saddr != @origins6 ${dropAs('spoofed')}`,
  ]),
  ...dropCounters,
  set('interfaces', 'type ifname'),
  set('senders', 'type ifname . ether_addr'),
  set('known-senders', 'type ifname'),
];

const forward = (unservedRules: readonly string[]): Chain =>
  base('forward', 'type filter hook forward priority filter;', [
    // Untracked: neighbour discovery, which is for one link, so that forwarding it only serves to hide in.
    'ct state invalid,untracked drop',
    ...unservedRules,
    ...judge,
  ]);
