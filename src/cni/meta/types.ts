/** Functions that work on an interface which is there: in an entry of their own, or within that of the one who made it. */
import type { LinkSettings } from '../../kernel/link-settings.ts';

export const META_KINDS = ['portmap', 'bandwidth', 'firewall', 'tuning'] as const;
export type MetaKind = (typeof META_KINDS)[number];

export interface FirewallConfig {
  readonly backend: 'iptables' | 'nftables' | undefined;
  /** Chain that is asked before ours. */
  readonly adminChain: string;
}

/** What was allowed, and by what. */
export interface FirewallRules {
  readonly backend: 'iptables' | 'nftables';
  readonly addresses: readonly string[];
  readonly adminChain: string;
}

export interface TuningConfig {
  /** Keys with slashes, below /proc/sys. */
  readonly sysctl: ReadonlyMap<string, string>;
  readonly link: LinkSettings;
}

export type TuningBackup = LinkSettings;
