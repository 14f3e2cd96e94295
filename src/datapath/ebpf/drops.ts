/** Packets that the programs did not let through, by reason. */
import type { Counter } from '../backend.ts';
import { sumWords } from './core/counters.ts';
import type { Programs } from './loader.ts';

/** By number, as in bpf/include/drop.h. */
export const DROP_REASONS: ReadonlyMap<number, string> = new Map([
  [1, 'policy'],
  [2, 'spoofed'],
  [3, 'malformed'],
  [4, 'unknown-link'],
  [5, 'no-backend'],
  [6, 'source-range'],
  [7, 'no-port'],
  [8, 'untranslatable'],
  [9, 'tunnel'],
  [10, 'denied'],
  [11, 'packet-rate'],
  [12, 'connection-rate'],
  [13, 'too-big'],
  [14, 'fragment'],
  [15, 'expired'],
  [16, 'no-route'],
  [17, 'refused'],
  [18, 'bandwidth'],
  [19, 'not-outside'],
  [20, 'fault'],
  [21, 'share'],
  [22, 'neighbour'],
  [23, 'handover'],
  [24, 'wrong-mac'],
  [25, 'arp-spoofed'],
  [26, 'neighbour-spoofed'],
  [27, 'router-advertisement'],
  [28, 'redirect'],
  [29, 'oversized'],
]);

export function readDrops(programs: Pick<Programs, 'map'>): ReadonlyMap<string, Counter> {
  const map = programs.map('drop_counters');
  const out = new Map<string, Counter>();
  for (const [number, reason] of DROP_REASONS) {
    const value = map.lookup(new Uint8Array(Uint32Array.of(number).buffer));
    const [packets = 0, bytes = 0] = value ? sumWords(value, 2) : [];
    out.set(reason, { packets, bytes });
  }
  return out;
}
