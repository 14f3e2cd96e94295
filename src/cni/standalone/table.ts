/**
 * The nftables table of a standalone agent: masquerade, host ports, and that a container sends with its own addresses
 * only. One table, `inet heddle-cni`; elements of maps carry the name of the link they belong to as their comment, so
 * that an agent which comes later knows whose they are.
 */
import { LINK_PREFIX } from '../names.ts';

export const TABLE = 'inet heddle-cni';
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];

export interface TableOptions {
  /** Canonical. */
  readonly podRanges: readonly string[];
  readonly masquerade: boolean;
  /** Where the agent answers for names; no host port is there. */
  readonly dnsAddresses: readonly string[];
}

const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4);
const ipOf = (family: Family): 'ip' | 'ip6' => (family === 4 ? 'ip' : 'ip6');
const typeOf = (family: Family): string => (family === 4 ? 'ipv4_addr' : 'ipv6_addr');
const LINKS = `"${LINK_PREFIX}*"`;
const MULTICAST = { 4: '224.0.0.0/4', 6: 'ff00::/8' } as const;

/** One transaction: what stands from an earlier run keeps its elements, rules are as this version wants them. */
export function tableCommands(options: TableOptions): string {
  return [
    `add table ${TABLE} { comment "Heddle: containers of a standalone agent"; }`,
    ...FAMILIES.flatMap(mapCommands),
    ...chains(options).flatMap(({ name, hook, rules }) => [
      `add chain ${TABLE} ${name}${hook === undefined ? '' : ` { ${hook} }`}`,
      `flush chain ${TABLE} ${name}`,
      ...rules.map((rule) => `add rule ${TABLE} ${name} ${rule}`),
    ]),
  ].join('\n');
}

/** Of frames on bridges: who may send with which link address. Made only where somebody asks for it. */
export const BRIDGE_TABLE = 'bridge heddle-cni';

export const bridgeTableCommands = (): string =>
  [
    `add table ${BRIDGE_TABLE} { comment "Heddle: containers of a standalone agent"; }`,
    `add set ${BRIDGE_TABLE} senders { type ifname . ether_addr; }`,
    `add set ${BRIDGE_TABLE} checked { type ifname; }`,
    `add chain ${BRIDGE_TABLE} origin { type filter hook prerouting priority -300; }`,
    `flush chain ${BRIDGE_TABLE} origin`,
    `add rule ${BRIDGE_TABLE} origin iifname @checked iifname . ether saddr != @senders counter drop comment "not the container's link address"`,
  ].join('\n');

function mapCommands(family: Family): string[] {
  const address = typeOf(family);
  const target = `${address} . inet_service`;
  return [
    `add map ${TABLE} ports${family} { type ${address} . inet_proto . inet_service : ${target}; }`,
    `add map ${TABLE} all-ports${family} { type inet_proto . inet_service : ${target}; }`,
    `add set ${TABLE} own${family} { type ${address} . ${address}; }`,
    `add set ${TABLE} near${family} { type ${address} . ${address}; flags interval; }`,
    `add set ${TABLE} masquerade${family} { type ${address}; }`,
    `add set ${TABLE} local${family} { type ${address} . ${address}; flags interval; }`,
  ];
}

interface Chain {
  readonly name: string;
  readonly hook?: string;
  readonly rules: readonly string[];
}

const chains = (options: TableOptions): Chain[] => [
  {
    name: 'origin',
    hook: 'type filter hook prerouting priority raw;',
    rules: [
      // As the kernel does, but for links with route_localnet.
      'iifname != "lo" ip daddr 127.0.0.0/8 counter drop comment "no way to the loopback"',
      `iifname ${LINKS} ip6 saddr != fe80::/10 fib saddr . iif oif missing counter drop comment "not the container's address"`,
      `iifname ${LINKS} meta nfproto ipv4 fib saddr . iif oif missing counter drop comment "not the container's address"`,
    ],
  },
  {
    name: 'host-ports',
    rules: FAMILIES.flatMap((family) => {
      const ip = ipOf(family);
      return [
        // A container that publishes port 53 at all addresses would be asked for everybody's names.
        ...options.dnsAddresses
          .filter((address) => familyOf(address) === family)
          .map((address) => `${ip} daddr ${address} meta l4proto { tcp, udp } th dport 53 return`),
        `dnat ${ip} to ${ip} daddr . meta l4proto . th dport map @ports${family}`,
        `meta nfproto ipv${family} dnat ${ip} to meta l4proto . th dport map @all-ports${family}`,
      ];
    }),
  },
  {
    name: 'prerouting',
    hook: 'type nat hook prerouting priority dstnat;',
    rules: ['fib daddr type local jump host-ports'],
  },
  {
    name: 'output',
    hook: 'type nat hook output priority -100;',
    // The kernel sends nothing from ::1 to another machine: refused there is better than lost.
    rules: ['ip6 daddr ::1 return', 'fib daddr type local jump host-ports'],
  },
  {
    name: 'postrouting',
    hook: 'type nat hook postrouting priority srcnat;',
    rules: [
      ...FAMILIES.map((family) => `${ipOf(family)} saddr . ${ipOf(family)} daddr @own${family} masquerade`),
      // Who is on one link would answer the caller by it, past the translation.
      ...FAMILIES.map(
        (family) => `ct status dnat ${ipOf(family)} saddr . ${ipOf(family)} daddr @near${family} masquerade`,
      ),
      'ct status dnat ip saddr 127.0.0.0/8 masquerade',
      ...FAMILIES.map((family) => {
        const ip = ipOf(family);
        return `${ip} saddr @masquerade${family} ${ip} saddr . ${ip} daddr != @local${family} ${ip} daddr != ${MULTICAST[family]} masquerade`;
      }),
      ...(options.masquerade ? options.podRanges.map((range) => outside(range)) : []),
    ],
  },
];

function outside(range: string): string {
  const family = familyOf(range);
  const ip = ipOf(family);
  return `${ip} saddr ${range} ${ip} daddr != { ${range}, ${MULTICAST[family]} } masquerade`;
}
