/** What the maps of a node take of the kernel's memory. */
import fs from 'node:fs';
import type { MapUse } from '../backend.ts';
import type { Programs } from './loader.ts';

/** Of entries that hash maps have not yet, only their places are counted. */
export const mapMemory = (programs: Pick<Programs, 'map' | 'mapNames'>): MapUse[] =>
  programs.mapNames.map((name) => {
    const { fd, maxEntries } = programs.map(name);
    return { name, max: maxEntries, bytes: memlock(fd) };
  });

function memlock(fd: number): number {
  const text = fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  return Number(/^memlock:\s*(\d+)$/m.exec(text)?.[1] ?? 0);
}
