/** Who listens on a TCP port of the namespace that the caller is in. */
import fs from 'node:fs';

export interface PortHolder {
  readonly pid: number;
  /** The program's, at most 15 characters. */
  readonly name: string;
}

/** Of /proc/net/tcp: state 0A listens. */
const LISTEN = '0A';

/** Undefined where nobody does, or where it is not for us to see. Reads the descriptors of every process. */
export function portHolder(port: number): PortHolder | undefined {
  const sockets = new Set(['tcp', 'tcp6'].flatMap((table) => listeners(table, port)));
  if (sockets.size === 0) return undefined;
  for (const pid of namesIn('/proc').filter((name) => /^\d+$/.test(name)))
    for (const fd of namesIn(`/proc/${pid}/fd`))
      if (sockets.has(linkOf(`/proc/${pid}/fd/${fd}`)))
        return { pid: Number(pid), name: textOf(`/proc/${pid}/comm`).trim() };
  return undefined;
}

/** Lines are: number, local address and port in hex, remote ones, state, four columns of counters and uids, inode. */
function listeners(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return textOf(`/proc/thread-self/net/${table}`)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === LISTEN && local?.endsWith(suffix))
    .map((columns) => `socket:[${columns[9]}]`);
}

const namesIn = (path: string): string[] => orElse(() => fs.readdirSync(path), []);
const linkOf = (path: string): string => orElse(() => fs.readlinkSync(path), '');
const textOf = (path: string): string => orElse(() => fs.readFileSync(path, 'utf8'), '');

/** Processes end, and some are not ours to look into. */
function orElse<T>(read: () => T, fallback: T): T {
  try {
    return read();
  } catch {
    return fallback;
  }
}
