/** Who does the functions for the plugin. */
import type { Netns } from '../../kernel/netns.ts';
import type { FirewallConfig, FirewallRules, TuningBackup, TuningConfig } from './types.ts';

export interface Firewall {
  /** Which way it will be, so that the book can say so first. @throws CniError where there is none */
  plan(config: FirewallConfig, addresses: readonly string[]): Promise<FirewallRules>;
  /** Nothing changes where it is allowed already. @throws CniError */
  allow(mark: string, rules: FirewallRules): Promise<void>;
  /** Nothing happens where nothing is allowed. Without `rules`: by whatever it may have been. */
  revoke(mark: string, rules: FirewallRules | undefined): Promise<void>;
  /** Takes away what is allowed to whomever; how many rules that was. */
  sweep(): Promise<number>;
  /** What is missing, in words. */
  missing(mark: string, rules: FirewallRules): Promise<string[]>;
}

export interface Tuning {
  /** What `config` would change, as it is now. @throws CniError also for settings that are not allowed */
  backup(netns: Netns, ifName: string, config: TuningConfig): TuningBackup;
  apply(netns: Netns, ifName: string, config: TuningConfig): void;
  restore(netns: Netns, ifName: string, backup: TuningBackup | undefined): void;
  /** What is not as it should be, in words. */
  faults(netns: Netns, ifName: string, config: TuningConfig): string[];
}

export interface Metas {
  readonly firewall: Firewall;
  readonly tuning: Tuning;
}
