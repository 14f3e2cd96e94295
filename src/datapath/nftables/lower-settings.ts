/** Ranges of the cluster and the addresses that stand in for pods: to the outside, and to themselves. */
import type { Settings } from '../plan/tables.ts';
import { acceptsNative, TUNNEL_LINKS, type TunnelMarks, tunnelMarks } from '../routing.ts';
import type { TableUse } from './base.ts';
import { dropAs } from './drops.ts';
import { flatten, rangeText } from './flatten.ts';
import { element, type Chain, type KernelObject } from './objects.ts';

const FAMILIES = [4, 6] as const;
const ipOf = (family: 4 | 6): string => (family === 4 ? 'ip' : 'ip6');

export function lowerSettings(
  settings: Settings | undefined,
  { services, relayed, linkAddresses }: TableUse,
): KernelObject[] {
  if (!settings)
    return [postrouting([], services), ...guards([], [], []), ...(relayed ? [sentGuard([])] : [])];
  const { podCidrs, serviceCidrs, underlayCidrs, nodePodCidrs, nodeAddresses, podLinks } = settings;
  const { controlAddresses = [] } = settings;
  return [
    ...ranges('service-nets', serviceCidrs),
    ...ranges('cluster-nets', [...podCidrs, ...serviceCidrs, ...underlayCidrs]),
    ...ranges('pod-nets', nodePodCidrs),
    ...(services ? ranges('client-nets', podCidrs) : []),
    ...controlAddresses.map((address) => element(`heard${address.includes(':') ? 6 : 4}`, address)),
    postrouting(nodeAddresses, services),
    ...guards(
      [
        `iifname "${podLinks}*" iifname != @interfaces ${dropAs('unknown-link')}`,
        ...tunnelRules(tunnelMarks(settings)),
        ...podRules(settings, linkAddresses),
        ...deniedRules(settings),
      ],
      [
        `oifname "${podLinks}*" oifname != @interfaces ${dropAs('unknown-link')}`,
        ...backendRules(tunnelMarks(settings), 'daddr'),
      ],
      backendRules(tunnelMarks(settings), 'saddr !='),
    ),
    ...(relayed ? [sentGuard(relayedRules(tunnelMarks(settings)))] : []),
  ];
}

const guard = (name: string, hook: string, rules: readonly string[]): Chain => ({
  type: 'chain',
  name,
  hook: `type filter hook ${hook}; policy accept;`,
  rules,
});

/** A pod's link is up before its policy is here: until then nothing passes, whoever runs in the pod already. */
function guards(incoming: readonly string[], outgoing: readonly string[], local: readonly string[]): Chain[] {
  return [
    guard('guard-in', 'prerouting priority raw', incoming),
    guard('guard-out', 'forward priority filter', outgoing),
    // After IPVS, which finds its backends in this hook.
    guard('guard-local', 'input priority 300', local),
  ];
}

/** The tunnel itself asks nobody who he is: a pod could wrap packets that claim any sender. */
const tunnelRules = ({ udpPorts, gre }: TunnelMarks): string[] =>
  [...udpPorts.map((port) => `udp dport ${port}`), ...(gre ? ['meta l4proto gre'] : [])].flatMap((what) =>
    FAMILIES.map(
      (family) =>
        `${what} fib daddr type local ${ipOf(family)} saddr != @tunnels${family} ${dropAs('tunnel')}`,
    ),
  );

/**
 * Who may say what a service's backends are may not speak for a node: what was for a service is not for a tunnel's end
 * before it is translated, and where it is sent on to another node it would come in the name of this one.
 */
const backendRules = ({ udpPorts }: TunnelMarks, end: 'saddr !=' | 'daddr'): string[] =>
  udpPorts.flatMap((port) =>
    FAMILIES.map(
      (family) => `udp dport ${port} ${ipOf(family)} ${end} @tunnels${family} ${dropAs('tunnel')}`,
    ),
  );

/** Of the output hook, by which IPVS sends on what was for a service. */
const sentGuard = (rules: readonly string[]): Chain => guard('guard-sent', 'output priority filter', rules);

/** As `backendRules`, where packets of the tunnel itself pass too: the kernel asked for its other end. */
const relayedRules = ({ udpPorts }: TunnelMarks): string[] =>
  udpPorts.flatMap((port) =>
    FAMILIES.map((family) => {
      const [ip, ends] = [ipOf(family), `@tunnels${family}`];
      return `udp dport ${port} ${ip} daddr ${ends} ct original ${ip} daddr != ${ends} ${dropAs('tunnel')}`;
    }),
  );

/** What comes by none of these came by an uplink. */
const inside = (podLinks: string): string =>
  ['lo', ...Object.values(TUNNEL_LINKS), `${podLinks}*`].map((name) => `iifname != "${name}"`).join(' ');

/**
 * At uplinks nobody is a pod of this node; and of other nodes none speaks to pods here, unless that is the way
 * between nodes: then those alone that some other node has, from the link address by which it is reached.
 */
function podRules(settings: Settings, linkAddresses: boolean): string[] {
  const { podLinks, podCidrs } = settings;
  return FAMILIES.flatMap((family) => {
    const [at, ip] = [inside(podLinks), ipOf(family)];
    const ranges = podCidrs.filter((cidr) => cidr.includes(':') === (family === 6));
    const others = !acceptsNative(settings)
      ? ['']
      : [
          ` ${ip} saddr != @remote-nets${family}`,
          ...(linkAddresses ? [` ${ip} saddr . ether saddr != @remote-senders${family}`] : []),
        ];
    return [
      `${at} ${ip} saddr @pod-nets${family} ${dropAs('spoofed')}`,
      ...ranges.flatMap((range) =>
        others.map(
          (other) => `${at} ${ip} saddr ${range} ${ip} daddr @pod-nets${family}${other} ${dropAs('spoofed')}`,
        ),
      ),
    ];
  });
}

/** Of the plan's `protection`: at uplinks alone, and not for nodes, what governs them, and pods without a tunnel. */
function deniedRules({ podLinks, podCidrs }: Settings): string[] {
  const rule = (family: 4 | 6): string => {
    const ip = ipOf(family);
    const pods = podCidrs
      .filter((cidr) => cidr.includes(':') === (family === 6))
      .map((cidr) => ` ${ip} saddr != ${cidr}`);
    return `${inside(podLinks)} ${ip} saddr @denied${family} ${ip} saddr != @heard${family}${pods.join('')} ${dropAs('denied')}`;
  };
  return [
    rule(4),
    // Neighbours keep finding each other, as they do by ARP.
    'icmpv6 type nd-neighbor-solicit accept',
    'icmpv6 type nd-neighbor-advert accept',
    rule(6),
  ];
}

function ranges(name: string, cidrs: readonly string[]): KernelObject[] {
  return flatten(cidrs.map((cidr) => [cidr, true] as const)).map((range) =>
    element(`${name}${range.family}`, rangeText(range)),
  );
}

/**
 * A pod that reaches itself through its Service would see its own address as the sender and answer without
 * passing here. Not `masquerade`: it would take any address of this namespace, that of the DNS on `lo` too.
 */
function postrouting(nodeAddresses: readonly string[], services: boolean): Chain {
  const first = (family: 4 | 6) => nodeAddresses.find((address) => address.includes(':') === (family === 6));
  return {
    type: 'chain',
    name: 'postrouting',
    hook: 'type nat hook postrouting priority srcnat; policy accept;',
    rules: ([4, 6] as const).flatMap((family) => {
      const [node, ip] = [first(family), family === 4 ? 'ip' : 'ip6'];
      if (node === undefined) return [];
      return [
        `${ip} saddr . ${ip} daddr @self${family} snat ${ip} to ${node}`,
        `${ip} saddr @pod-nets${family} ${ip} daddr != @cluster-nets${family} snat ${ip} to ${node}`,
        // Who comes from elsewhere and is sent on to another node must be answered through here. Pods of this
        // node see who asks.
        ...(services
          ? [
              `ct status dnat ${ip} saddr != @pod-nets${family} ${ip} daddr != @pod-nets${family} snat ${ip} to ${node}`,
            ]
          : []),
      ];
    }),
  };
}
