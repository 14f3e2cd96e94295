/** The settings of one namespace, as leases see them: a fake stands in for it in tests. */
import { readSysctl, sysctlAccess, writeSysctl } from '../kernel/sysctl.ts';
import type { Netns } from '../kernel/netns.ts';

export type Access = 'writable' | 'read-only' | 'missing';

export interface Sysctls {
  access(key: string): Access;
  /** In one form: blanks are single. @throws HeddleError `Sysctl` */
  read(key: string): string;
  /** @throws HeddleError `Sysctl` */
  write(key: string, value: string): void;
}

/** The kernel separates numbers by tabs, people by blanks. */
export const sameForm = (value: string): string => value.trim().replace(/\s+/g, ' ');

export const sysctlsOf = (ns: Netns | undefined): Sysctls => ({
  access: (key) => sysctlAccess(ns, key),
  read: (key) => sameForm(readSysctl(ns, key)),
  write: (key, value) => writeSysctl(ns, key, value),
});

export type Scope = 'namespace' | 'host' | 'missing';

/**
 * Whose a setting is. The kernel shows settings that a namespace cannot own as read-only in it, or not at all;
 * which ones they are differs between kernels, so each is asked.
 */
export function scopeOf(key: string, node: Sysctls, host: Sysctls): Scope {
  if (node.access(key) === 'writable') return 'namespace';
  return host.access(key) === 'missing' ? 'missing' : 'host';
}
