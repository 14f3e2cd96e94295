/** Ranges of the cluster and the addresses that stand in for pods: to the outside, and to themselves. */
import type { Settings } from '../plan/tables.ts';
import { flatten, rangeText } from './flatten.ts';
import { element, type Chain, type KernelObject } from './objects.ts';

export function lowerSettings(settings: Settings | undefined, services: boolean): KernelObject[] {
  if (!settings) return [postrouting([], services), ...guards([], [])];
  const { podCidrs, serviceCidrs, underlayCidrs, nodePodCidrs, nodeAddresses, podLinks, tunnelPort } =
    settings;
  return [
    ...ranges('service-nets', serviceCidrs),
    ...ranges('cluster-nets', [...podCidrs, ...serviceCidrs, ...underlayCidrs]),
    ...ranges('pod-nets', nodePodCidrs),
    ...(services ? ranges('client-nets', podCidrs) : []),
    postrouting(nodeAddresses, services),
    ...guards(
      [`iifname "${podLinks}*" iifname != @interfaces drop`, ...tunnelRules(tunnelPort)],
      [`oifname "${podLinks}*" oifname != @interfaces drop`],
    ),
  ];
}

/** A pod's link is up before its policy is here: until then nothing passes, whoever runs in the pod already. */
function guards(incoming: readonly string[], outgoing: readonly string[]): Chain[] {
  const guard = (name: string, hook: string, rules: readonly string[]): Chain => ({
    type: 'chain',
    name,
    hook: `type filter hook ${hook}; policy accept;`,
    rules,
  });
  return [
    guard('guard-in', 'prerouting priority raw', incoming),
    guard('guard-out', 'forward priority filter', outgoing),
  ];
}

/** The tunnel itself asks nobody who he is: a pod could wrap packets that claim any sender. */
const tunnelRules = (port: number): string[] =>
  ([4, 6] as const).map(
    (family) =>
      `udp dport ${port} fib daddr type local ${family === 4 ? 'ip' : 'ip6'} saddr != @tunnels${family} drop`,
  );

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
