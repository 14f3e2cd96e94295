/** Settings under /proc/sys as one namespace sees them. Keys are written with dots: `net.ipv4.ip_forward`. */
import fs from 'node:fs';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { inNetns, type Netns } from './netns.ts';

/** An interface name with dots would be cut: write it with slashes instead, `net/ipv4/conf/a.b/rp_filter`. */
const fileOf = (key: string): string => `/proc/sys/${key.includes('/') ? key : key.replaceAll('.', '/')}`;

const inside = <T>(ns: Netns | undefined, fn: () => T): T => (ns ? inNetns(ns, fn) : fn());

function sysctlError(action: string, key: string, cause: unknown): HeddleError {
  const missing = errnoCode(cause) === 'ENOENT';
  return new HeddleError('Sysctl', `cannot ${action} ${key}: ${errnoCode(cause) ?? String(cause)}`, {
    hint: missing ? 'this kernel has no such setting, or the link it belongs to is gone' : 'this needs root',
    cause,
  });
}

/** Without the line end. */
export function readSysctl(ns: Netns | undefined, key: string): string {
  try {
    return inside(ns, () => fs.readFileSync(fileOf(key), 'utf8').trimEnd());
  } catch (cause) {
    throw sysctlError('read the setting', key, cause);
  }
}

export function writeSysctl(ns: Netns | undefined, key: string, value: string | number): void {
  try {
    inside(ns, () => fs.writeFileSync(fileOf(key), String(value)));
  } catch (cause) {
    throw sysctlError(`write "${value}" to the setting`, key, cause);
  }
}

/**
 * Whether `ns` has the setting for its own. By its mode, for what belongs to the whole machine is read-only in every
 * namespace but the first: nothing is written to find out.
 */
export function sysctlAccess(ns: Netns | undefined, key: string): 'writable' | 'read-only' | 'missing' {
  const stat = inside(ns, () => fs.statSync(fileOf(key), { throwIfNoEntry: false }));
  if (!stat?.isFile()) return 'missing';
  return (stat.mode & 0o200) === 0 ? 'read-only' : 'writable';
}
