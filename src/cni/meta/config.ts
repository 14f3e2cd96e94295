/** Fields of the functions, by the reference's names. */
import { booleanOf, fieldsOf, type Fields, numberOf, textOf, unsupported, wrong } from '../leases/read.ts';
import { CniCode, CniError } from '../error.ts';
import type { CniRequest, NetConf } from '../types.ts';
import type { Wishes } from '../wishes.ts';
import type { FirewallConfig, MetaKind, TuningConfig } from './types.ts';

export const META_KINDS = ['portmap', 'bandwidth', 'firewall', 'tuning'] as const;

/** `heddle-firewall` is the plugin `firewall` as Heddle does it. */
export function metaKindOf({ type }: NetConf): MetaKind | undefined {
  return META_KINDS.find((kind) => type === `heddle-${kind}`);
}

/** The fields of a function within another plugin's entry, under its name; its own entry has them at the top. */
export function metaFields(config: NetConf, kind: 'firewall' | 'tuning'): Fields | undefined {
  if (metaKindOf(config) === kind) return config;
  return config[kind] === undefined ? undefined : fieldsOf(config[kind], kind);
}

/** @throws CniError invalidConfig, unsupportedField */
export function firewallOf(fields: Fields): FirewallConfig {
  const backend = textOf(fields['backend'], 'backend');
  if (backend !== undefined && backend !== 'iptables' && backend !== 'nftables')
    throw unsupported('backend', backend, 'expected iptables or nftables');
  const policy = textOf(fields['ingressPolicy'], 'ingressPolicy') ?? 'open';
  if (policy !== 'open') throw unsupported('ingressPolicy', policy, 'expected open');
  const zone = textOf(fields['firewalldZone'], 'firewalldZone');
  if (zone !== undefined && zone !== 'trusted')
    throw unsupported('firewalldZone', zone, 'firewalld is not spoken to');
  const adminChain = textOf(fields['iptablesAdminChainName'], 'iptablesAdminChainName') ?? 'CNI-ADMIN';
  // The kernel's XT_EXTENSION_MAXNAMELEN.
  if (!/^[A-Za-z0-9_.:-]{1,28}$/.test(adminChain) || adminChain.startsWith('-'))
    throw wrong('iptablesAdminChainName', adminChain, 'the name of a chain, 1 to 28 characters');
  return { backend, adminChain };
}

/** @throws CniError invalidConfig, unsupportedField */
export function tuningOf(fields: Fields, { ifName, config, args }: CniRequest, wishes: Wishes): TuningConfig {
  if (textOf(fields['dataDir'], 'dataDir') !== undefined)
    throw unsupported('dataDir', fields['dataDir'], 'the address book remembers what was there before');
  const sysctl = Object.entries(fieldsOf(fields['sysctl'], 'sysctl')).map(([key, value]) => {
    if (typeof value !== 'string' && typeof value !== 'number') throw wrong(`sysctl.${key}`, value, 'a text');
    return [sysctlKey(key, ifName), String(value)] as const;
  });
  const link = {
    promisc:
      fields['promisc'] === undefined ? undefined : booleanOf(fields['promisc'], 'promisc') || undefined,
    allmulti:
      fields['allmulti'] === undefined ? undefined : booleanOf(fields['allmulti'], 'allmulti') || undefined,
    txQLen: numberOf(fields['txQLen'], 'txQLen', [1, 0x7fffffff]),
    mtu: fields['mtu'] === 0 ? undefined : numberOf(fields['mtu'], 'mtu', [68, 65_535]),
    mac: metaKindOf(config) === 'tuning' ? (wishes.mac ?? macOf(fields['mac'])) : macOf(fields['mac']),
  };
  void args;
  return { sysctl: new Map(sysctl), link };
}

function macOf(value: unknown): string | undefined {
  const mac = textOf(value, 'mac')?.toLowerCase();
  if (mac === undefined) return undefined;
  if (/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac) && mac !== '00:00:00:00:00:00') return mac;
  throw wrong('mac', value, 'a unicast MAC address such as 02:00:00:00:00:01');
}

/**
 * Settings of the container's own network only. `IFNAME` stands for the interface. With slashes as separators dots are
 * parts of names, as sysctl(8) has it.
 */
function sysctlKey(key: string, ifName: string): string {
  const first = /[./]/.exec(key)?.[0];
  // sysctl(8): where dots separate, a slash is a dot of a name.
  const path = first === '/' ? key : key.replace(/[./]/g, (c) => (c === '.' ? '/' : '.'));
  const named = path.replaceAll('IFNAME', ifName);
  const parts = named.split('/');
  if (
    parts[0] !== 'net' ||
    parts.length < 3 ||
    parts.some((part) => part === '' || part === '.' || part === '..')
  )
    throw new CniError(
      CniCode.invalidConfig,
      `sysctl "${key}" is not a setting of a network namespace: expected one below net.`,
    );
  return named;
}
