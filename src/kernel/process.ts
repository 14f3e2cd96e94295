/** What /proc says of a process. */
import fs from 'node:fs';
import { libc } from './ffi.ts';

const SC_CLK_TCK = 2;
let ticksPerSecond: number | undefined;

/** Fields of /proc/PID/stat from the third on; the second, the name, may hold blanks and brackets. */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** Runs still; a zombie does not. */
export function isAlive(pid: number): boolean {
  const state = statFields(pid)?.[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Clock ticks after boot at which it started: with the pid it names one process for ever. */
export function startTime(pid: number): number | undefined {
  const ticks = statFields(pid)?.[19];
  return ticks === undefined ? undefined : Number(ticks);
}

/** Processor time used, user and system, in milliseconds. */
export function cpuTime(pid: number): number | undefined {
  const fields = statFields(pid);
  if (!fields) return undefined;
  ticksPerSecond ??= libc.sysconf(SC_CLK_TCK);
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

/** Proportional set size in bytes: what memory the process is to blame for. */
export function pss(pid: number): number | undefined {
  try {
    const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}
