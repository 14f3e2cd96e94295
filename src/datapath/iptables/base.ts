/** Chains that every node has, and the jumps to them from the kernel's. */
import type { Settings } from '../plan/tables.ts';
import type { Chain, Family, Rule, TableName, TableObject } from './objects.ts';
import { cidrText, comment, familyOf, LOOPBACK, reject } from './words.ts';

/** A mark of the connection: the policy table writes the packet's. */
const MASQUERADE = '0x4000/0x4000';

export function baseObjects(settings: Settings | undefined): TableObject[] {
  return ([4, 6] as const).flatMap((family) => [...nat(family, settings), ...filter(family, settings)]);
}

function nat(family: Family, settings: Settings | undefined): TableObject[] {
  const chain = chainsOf('nat', family);
  const jump = jumpsOf('nat', family);
  const own = (settings?.nodePodCidrs ?? []).filter((cidr) => familyOf(cidr) === family).map(cidrText);
  const node = (settings?.nodeAddresses ?? []).find((address) => familyOf(address) === family);
  return [
    chain('KUBE-SERVICES', [
      `${comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain')} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`,
    ]),
    chain('KUBE-NODEPORTS', []),
    chain('KUBE-MARK-MASQ', [`-j CONNMARK --set-xmark ${MASQUERADE}`]),
    chain('KUBE-POSTROUTING', [
      `-m connmark ! --mark ${MASQUERADE} -j RETURN`,
      ...(node === undefined || family === 6 ? [] : [fromLoopback(node)]),
      // Replies to and of pods of this node come through here: they need nobody in the client's place.
      ...own.flatMap((cidr) => [`-s ${cidr} -j RETURN`, `-d ${cidr} -j RETURN`]),
      ...(node === undefined
        ? []
        : [`${comment('kubernetes service traffic requiring SNAT')} -j SNAT --to-source ${node}`]),
    ]),
    jump('PREROUTING', `${comment('kubernetes service portals')} -j KUBE-SERVICES`),
    jump('OUTPUT', `${comment('kubernetes service portals')} -j KUBE-SERVICES`),
    jump('POSTROUTING', `${comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING`),
  ];
}

/** Also towards pods of this node: nobody answers a loopback address of another. */
const fromLoopback = (node: string): string =>
  `-s ${LOOPBACK} ${comment('node ports at loopback addresses')} -j SNAT --to-source ${node}`;

/**
 * What `route_localnet` would let in: who is no client of this node's loopback has nothing to say to it, nor in its
 * name. By link: the kernel, which checks no sources here (`rp_filter` is 0), takes any of them but 127.0.0.1 itself.
 */
const incomingLoopback = [
  `-d ${LOOPBACK} ! -i lo ${comment('block incoming localnet connections')} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
  `-s ${LOOPBACK} ! -i lo ${comment('loopback addresses of others')} -j DROP`,
];

function filter(family: Family, settings: Settings | undefined): TableObject[] {
  const chain = chainsOf('filter', family);
  const jump = jumpsOf('filter', family);
  const ranges = (settings?.serviceCidrs ?? []).filter((cidr) => familyOf(cidr) === family).map(cidrText);
  const unserved = ranges.flatMap((cidr) => [
    `-d ${cidr} -p tcp ${comment('no service has this')} ${reject(family, 'TCP')}`,
    `-d ${cidr} ${comment('no service has this')} ${reject(family, '')}`,
  ]);
  const onNew = '-m conntrack --ctstate NEW';
  const jumps = (['INPUT', 'FORWARD', 'OUTPUT'] as const).map((from) =>
    jump(
      from,
      `${onNew} ${comment('kubernetes externally-visible service portals')} -j KUBE-EXTERNAL-SERVICES`,
    ),
  );
  return [
    chain('KUBE-SERVICES', unserved),
    // At the end: whom the ranges of a balancer admit is refused before, where nothing serves.
    chain('KUBE-EXTERNAL-SERVICES', [
      `${comment('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL`,
    ]),
    chain('KUBE-PROXY-FIREWALL', []),
    ...jumps,
    ...(family === 4
      ? [
          chain('KUBE-FIREWALL', incomingLoopback),
          jump('INPUT', '-j KUBE-FIREWALL'),
          jump('FORWARD', '-j KUBE-FIREWALL'),
        ]
      : []),
    jump('FORWARD', `${onNew} ${comment('kubernetes service portals')} -j KUBE-SERVICES`),
    // What the node answers itself (cluster DNS) is in a service range too.
    jump('OUTPUT', `! -o lo ${onNew} ${comment('kubernetes service portals')} -j KUBE-SERVICES`),
  ];
}

const chainsOf =
  (table: TableName, family: Family) =>
  (name: string, rules: readonly string[]): Chain => ({ type: 'chain', family, table, name, rules });

const jumpsOf =
  (table: TableName, family: Family) =>
  (chain: string, rule: string): Rule => ({ type: 'rule', family, table, chain, rule });
