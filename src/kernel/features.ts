/**
 * Whether this machine can carry a cluster, asked of the kernel itself in a scratch namespace that is gone
 * afterwards. Each feature says what is missing and which kernel option or package brings it.
 */
import fs from 'node:fs';
import { errorText } from '../lib/errors.ts';
import { findCgroup2Mount } from './cgroup.ts';
import { libnftables } from './ffi.ts';
import { inScratchNetns } from './netns.ts';
import { openNft } from './nft.ts';
import { kernelAtLeast, kernelRelease } from './release.ts';
import { openRoute, type Route } from './route.ts';

export type FeatureName =
  | 'root'
  | 'netns'
  | 'ipv6'
  | 'veth'
  | 'bridge'
  | 'vxlan'
  | 'libnftables'
  | 'nftables'
  | 'nftablesNat'
  | 'nftablesLog'
  | 'nftablesMaps'
  | 'cgroup2'
  | 'cgroupKill';

export interface Feature {
  readonly ok: boolean;
  /** What it is for. */
  readonly purpose: string;
  /** The kernel's answer where it is missing. */
  readonly why: string | undefined;
  /** What to do about it. */
  readonly hint: string | undefined;
}

export type Features = Readonly<Record<FeatureName, Feature>>;

interface Check {
  readonly name: FeatureName;
  readonly purpose: string;
  readonly hint: string;
  /** Throws where the feature is missing. */
  try(): void;
}

/** Features that must be there, named first to last as a user should mend them; empty where all is well. */
export const missingFeatures = (features: Features): [FeatureName, Feature][] =>
  checkNames.flatMap((name) => (features[name].ok ? [] : [[name, features[name]]]));

/** Takes some 10 ms and leaves nothing behind. */
export function probe(): Features {
  const results = new Map<FeatureName, Feature>();
  const examine = (check: Check, blocker?: string) => results.set(check.name, outcome(check, blocker));
  for (const check of outsideChecks) examine(check);
  if (!results.get('root')?.ok) {
    for (const check of insideChecks()) examine(check, 'not tried: this needs root');
    return assemble(results);
  }
  try {
    inScratchNetns(() => {
      for (const check of insideChecks()) examine(check);
    });
  } catch (error) {
    for (const check of insideChecks()) examine(check, errorText(error));
  }
  return assemble(results);
}

function outcome(check: Check, blocker: string | undefined): Feature {
  const { purpose, hint } = check;
  if (blocker !== undefined) return { ok: false, purpose, why: blocker, hint };
  try {
    check.try();
    return { ok: true, purpose, why: undefined, hint: undefined };
  } catch (error) {
    return { ok: false, purpose, why: errorText(error), hint };
  }
}

const assemble = (results: ReadonlyMap<FeatureName, Feature>): Features =>
  Object.fromEntries(results) as Record<FeatureName, Feature>;

function must(condition: boolean, why: string): void {
  if (!condition) throw new Error(why);
}

const outsideChecks: readonly Check[] = [
  {
    name: 'root',
    purpose: 'making namespaces, links and rules',
    hint: 'run it with sudo; in a container: --privileged, or CAP_SYS_ADMIN and CAP_NET_ADMIN',
    try: () => must(process.geteuid?.() === 0, `this process runs as user ${process.geteuid?.()}`),
  },
  {
    name: 'cgroup2',
    purpose: 'finding and ending every process of a cluster',
    hint: 'mount it: mount -t cgroup2 none /sys/fs/cgroup; where cgroup v1 is there, at a new folder /sys/fs/cgroup/unified',
    try: () => must(findCgroup2Mount() !== undefined, 'no cgroup2 is mounted'),
  },
  {
    name: 'cgroupKill',
    purpose: 'ending a tree of processes at once',
    hint: 'needs Linux 5.14 or later',
    try: () => must(kernelAtLeast(5, 14), `this is Linux ${kernelRelease()}`),
  },
  {
    name: 'libnftables',
    purpose: 'programming nftables',
    hint: 'apt-get install libnftables1',
    try: () => void libnftables(),
  },
];

/** They run in the scratch namespace, in this order: later ones build on links made by earlier ones. */
function insideChecks(): Check[] {
  const withRoute = (use: (route: Route) => void) => () => {
    const route = openRoute();
    try {
      use(route);
    } finally {
      route.close();
    }
  };
  return [
    {
      name: 'netns',
      purpose: 'a network of its own for every pod and node',
      hint: 'kernel option CONFIG_NET_NS; see also /proc/sys/user/max_net_namespaces',
      try: () => {},
    },
    {
      name: 'veth',
      purpose: 'the link between a pod and its node',
      hint: 'kernel option CONFIG_VETH (modprobe veth)',
      try: withRoute((route) => route.addVeth({ name: 'probe0', peer: { name: 'probe1' } })),
    },
    {
      name: 'ipv6',
      purpose: 'dual-stack pods and services',
      hint: 'kernel option CONFIG_IPV6; remove ipv6.disable=1 from the kernel command line',
      try: withRoute((route) => {
        must(fs.existsSync('/proc/sys/net/ipv6'), 'this kernel runs without IPv6');
        route.replaceAddress('lo', 'fd00::1/128', { nodad: true });
      }),
    },
    {
      name: 'bridge',
      purpose: 'the underlay that joins the nodes',
      hint: 'kernel option CONFIG_BRIDGE (modprobe bridge)',
      try: withRoute((route) => route.addBridge({ name: 'probe-br' })),
    },
    {
      name: 'vxlan',
      purpose: 'the overlay between nodes',
      hint: 'kernel option CONFIG_VXLAN (modprobe vxlan)',
      try: withRoute((route) => route.addVxlan({ name: 'probe-vx', vni: 1, port: 4789, local: '127.0.0.1' })),
    },
    ...nftablesChecks,
  ];
}

const withNft = (commands: string) => () => {
  const nft = openNft();
  try {
    nft.run(commands);
  } finally {
    nft.close();
  }
};

const nftablesChecks: readonly Check[] = [
  {
    name: 'nftables',
    purpose: 'services and network policy',
    hint: 'kernel options CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_CT',
    try: withNft(`table inet probe_base {
      chain c { type filter hook forward priority 0; ct state established accept; }
    }`),
  },
  {
    name: 'nftablesNat',
    purpose: 'service addresses and masquerading',
    hint: 'kernel options CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NF_NAT',
    try: withNft(`table inet probe_nat {
      chain in { type nat hook prerouting priority -100; tcp dport 1 dnat ip to 127.0.0.1:80; }
      chain out { type nat hook postrouting priority 100; masquerade; }
    }`),
  },
  {
    name: 'nftablesLog',
    purpose: 'naming the rule behind every denied packet',
    hint: 'kernel options CONFIG_NFT_LOG, CONFIG_NETFILTER_NETLINK_LOG',
    try: withNft(`table inet probe_log {
      chain c { type filter hook forward priority 0; log prefix "probe" group 1; }
    }`),
  },
  {
    name: 'nftablesMaps',
    purpose: 'policy by ranges of addresses and ports, at a cost that does not grow',
    hint: 'Linux 5.7 or later, with CONFIG_NF_TABLES (set type pipapo)',
    try: withNft(`table inet probe_maps {
      map m { type ipv4_addr . inet_proto . inet_service : verdict; flags interval;
        elements = { 10.0.0.0/8 . tcp . 1-100 : accept }; }
      chain c { type filter hook forward priority 0; ip saddr . meta l4proto . th dport vmap @m; }
    }`),
  },
];

const checkNames: readonly FeatureName[] = [...outsideChecks, ...insideChecks()].map((check) => check.name);
