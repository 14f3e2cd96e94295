/**
 * Programs of an earlier opening, found again where nothing about them changed: judging them takes the kernel up to
 * half a second each, and a restart needs none of it. Pinned as
 *
 *     <folder>/<hash>/<program>    hash: of the object's bytes, its constants and the numbers of its maps
 *     <folder>/<hash>/=data        its global variables
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { MAP_TYPE } from '../../kernel/bpf/map.ts';
import type { BpfObject, LoadedObject } from '../../kernel/bpf/object.ts';
import { getPinned, pin } from '../../kernel/bpf/syscall.ts';

export interface KeptPrograms {
  /** Undefined where there are none; the caller closes the descriptors. */
  find(object: BpfObject, input: KeyInput): LoadedObject | undefined;
  /** Pins what was loaded. */
  keep(object: BpfObject, input: KeyInput, loaded: LoadedObject): void;
  /** Lets go of all that this opening neither found nor kept. */
  settle(): void;
}

export interface KeyInput {
  readonly file: Uint8Array;
  /** Whatever else decides what is loaded. */
  readonly settings: unknown;
  /** Number of the kernel's map; undefined where there is none yet. */
  mapId(name: string): number | undefined;
}

export function openKeptPrograms(folder: string): KeptPrograms {
  fs.mkdirSync(folder, { recursive: true });
  const used = new Set<string>();

  return {
    find(object, input) {
      const key = keyOf(object, input);
      if (key === undefined || !fs.existsSync(join(folder, key))) return undefined;
      const found = readPins(object, join(folder, key));
      if (found) used.add(key);
      return found;
    },
    keep(object, input, loaded) {
      const key = keyOf(object, input);
      if (key === undefined) return;
      used.add(key);
      const path = join(folder, key);
      // Of an opening that ended in the middle of this.
      fs.rmSync(path, { recursive: true, force: true });
      fs.mkdirSync(path);
      for (const [name, fd] of loaded.maps) if (isVariables(name)) pin(fd, join(path, pinName(name)));
      for (const [name, fd] of loaded.programs) pin(fd, join(path, name));
    },
    settle() {
      for (const name of fs.readdirSync(folder))
        if (!used.has(name)) fs.rmSync(join(folder, name), { recursive: true, force: true });
    },
  };
}

const isVariables = (section: string): boolean => /^\.(data|bss)/.test(section);

/** A bpffs allows no dots. */
const pinName = (section: string): string => `=${section.slice(1).replaceAll('.', '_')}`;

/** Undefined: it cannot be found again. A table for tail calls belongs to the programs loaded with it. */
function keyOf(object: BpfObject, { file, settings, mapId }: KeyInput): string | undefined {
  const hash = createHash('sha256').update(file).update(text(settings));
  for (const { name, type, internal } of object.maps) {
    if (internal) continue;
    const id = mapId(name);
    if (id === undefined || type === MAP_TYPE.PROG_ARRAY) return undefined;
    hash.update(`${name}=${id};`);
  }
  return hash.digest('hex').slice(0, 32);
}

const text = (settings: unknown): string =>
  JSON.stringify(settings, (_, value: unknown) => {
    if (typeof value === 'bigint') return `${value}n`;
    return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
  }) ?? '';

function readPins(object: BpfObject, path: string): LoadedObject | undefined {
  const programs = new Map<string, number>();
  const maps = new Map<string, number>();
  const take = (into: Map<string, number>, name: string, file: string): boolean => {
    const fd = getPinned(join(path, file));
    if (fd !== undefined) into.set(name, fd);
    return fd !== undefined;
  };
  const whole =
    object.programs.filter(({ skipped }) => !skipped).every(({ name }) => take(programs, name, name)) &&
    object.maps.filter(({ name }) => isVariables(name)).every(({ name }) => take(maps, name, pinName(name)));
  if (whole) return { programs, maps };
  for (const fd of [...programs.values(), ...maps.values()]) fs.closeSync(fd);
  return undefined;
}
