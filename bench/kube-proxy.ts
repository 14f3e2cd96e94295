/**
 * Services as kube-proxy writes them, in iptables and in nftables: names, order and shape of its chains and maps,
 * without sessions, node ports or health checks.
 */
import { createHash } from 'node:crypto';

export interface ProxiedService {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly endpoints: readonly { readonly address: string; readonly port: number }[];
}

const POD_RANGE = '10.244.0.0/16';

const hash = (text: string): string =>
  createHash('sha256').update(text).digest('hex').slice(0, 16).toUpperCase();

/** Input of `iptables-restore`. */
export function iptablesRules(services: readonly ProxiedService[]): string {
  const chains: string[] = [];
  const rules: string[] = [];
  for (const { name, address, port, endpoints } of services) {
    const chain = `KUBE-SVC-${hash(name)}`;
    chains.push(`:${chain} - [0:0]`);
    const comment = `-m comment --comment "${name} cluster IP"`;
    rules.push(`-A KUBE-SERVICES ${comment} -m tcp -p tcp -d ${address} --dport ${port} -j ${chain}`);
    rules.push(
      `-A ${chain} ${comment} -m tcp -p tcp -d ${address} --dport ${port} ! -s ${POD_RANGE} -j KUBE-MARK-MASQ`,
    );
    for (const [i, endpoint] of endpoints.entries()) {
      const to = `${endpoint.address}:${endpoint.port}`;
      const end = `KUBE-SEP-${hash(`${name} ${to}`)}`;
      const left = endpoints.length - i;
      const draw = left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : '';
      const words = `-m comment --comment "${name} -> ${to}"`;
      chains.push(`:${end} - [0:0]`);
      rules.push(
        `-A ${chain} ${words}${draw} -j ${end}`,
        `-A ${end} ${words} -s ${endpoint.address} -j KUBE-MARK-MASQ`,
        `-A ${end} ${words} -m tcp -p tcp -j DNAT --to-destination ${to}`,
      );
    }
  }
  return [
    '*nat',
    ':KUBE-SERVICES - [0:0]',
    ':KUBE-POSTROUTING - [0:0]',
    ':KUBE-MARK-MASQ - [0:0]',
    ...chains,
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
    '-A KUBE-POSTROUTING -j MASQUERADE --random-fully',
    '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
    ...rules,
    'COMMIT',
    '',
  ].join('\n');
}

/** Input of `nft -f`. */
export function nftablesRules(services: readonly ProxiedService[]): string {
  const chains: string[] = [];
  const elements: string[] = [];
  for (const { name, address, port, endpoints } of services) {
    const chain = `service-${hash(name)}`;
    elements.push(`${address} . tcp . ${port} comment "${name}" : goto ${chain}`);
    const ends = endpoints.map((endpoint) => {
      const to = `${endpoint.address}:${endpoint.port}`;
      const end = `endpoint-${hash(`${name} ${to}`)}`;
      chains.push(
        `chain ${end} { ip saddr ${endpoint.address} jump mark-for-masquerade; meta l4proto tcp dnat to ${to}; }`,
      );
      return end;
    });
    const draw = ends.map((end, i) => `${i} : goto ${end}`).join(', ');
    chains.push(
      `chain ${chain} { ip daddr ${address} tcp dport ${port} ip saddr != ${POD_RANGE} jump mark-for-masquerade; ` +
        `numgen random mod ${ends.length} vmap { ${draw} }; }`,
    );
  }
  return `table ip kube-proxy {
    chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
    chain masquerading { meta mark and 0x4000 == 0 return; meta mark set meta mark xor 0x4000; masquerade fully-random; }
    ${chains.join('\n    ')}
    map service-ips { type ipv4_addr . inet_proto . inet_service : verdict;
      elements = { ${elements.join(',\n        ')} } }
    chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
    chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
    chain nat-output { type nat hook output priority -100; jump services; }
    chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
  }\n`;
}
