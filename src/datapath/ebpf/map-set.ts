/**
 * The maps of one node: one kernel map for each name, however many objects define it, pinned in `folder`:
 *
 *     <name>        the map that programs of this build use
 *     <name>~<id>   an earlier one of another layout, until every link runs the new programs (`settle`)
 *     <name>@<id>   a table of programs for tail calls: new at each opening, since those in it belong together, and
 *                   pinned because the kernel empties one that only programs hold
 *     +<name>       a new one for a moment, before it takes the name
 */
import fs from 'node:fs';
import { join } from 'node:path';
import type { Btf } from '../../kernel/bpf/btf.ts';
import { type BpfMap, MAP_TYPE, openMap } from '../../kernel/bpf/map.ts';
import type { BpfObject, LoadedObject, MapSpec } from '../../kernel/bpf/object.ts';
import { getPinned, pin, unpin } from '../../kernel/bpf/syscall.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import {
  createTypeReader,
  type Layout,
  layoutDifference,
  layoutOfKernelMap,
  layoutOfSpec,
  type MapTypes,
} from './layout.ts';
import { copyEntries, isCopyable, isLearned } from './migrate.ts';

export interface HeldMap {
  readonly map: BpfMap;
  readonly spec: MapSpec;
  readonly btf: Btf;
  readonly layout: Layout;
  /** The object that defined it first. */
  readonly from: string;
}

export interface Migration {
  readonly map: string;
  /** What differs: "valueSize 8 → 16". */
  readonly why: string;
  readonly copied: number;
  /** Entries that the new layout cannot hold. */
  readonly unfit: number;
}

export interface MapSet {
  readonly maps: ReadonlyMap<string, HeldMap>;
  readonly migrations: readonly Migration[];
  /** Before an object is loaded: gives it the maps that are there. */
  prepare(object: BpfObject): void;
  /** After: keeps the maps that are new. Takes their descriptors out of `loaded`. */
  adopt(object: BpfObject, loaded: LoadedObject): void;
  /** Once all objects are loaded: fills new maps from those they replace and pins them. Until then no pin changes. */
  commit(): void;
  /** Copies what earlier programs learned since, first right before a link changes. */
  catchUp(): void;
  settle(): void;
  close(): void;
}

export interface MapSetOptions {
  readonly folder: string;
  readonly maxEntries: Readonly<Record<string, number>>;
  readonly log: Log;
  /** HASH and ARRAY maps that programs fill, beside the LRU ones. */
  readonly learned?: readonly string[];
}

function hasMore(map: BpfMap, count: number): boolean {
  let found = 0;
  for (const _ of map.entries()) if (++found > count) return true;
  return false;
}

export function openMapSet({ folder, maxEntries, log, learned = [] }: MapSetOptions): MapSet {
  const maps = new Map<string, HeldMap>();
  const earlier: { name: string; map: BpfMap; types: MapTypes | undefined; path: string }[] = [];
  const fresh: HeldMap[] = [];
  const migrations: Migration[] = [];
  /** Keys of each earlier map, by its pin, that a late copy has seen. */
  const copiedLate = new Map<string, Set<string>>();
  const typesOf = createTypeReader();
  const at = (name: string) => join(folder, name);
  const isTable = (spec: MapSpec) => spec.type === MAP_TYPE.PROG_ARRAY;

  for (const name of fs.readdirSync(folder)) if (name.startsWith('+')) unpin(at(name));

  function prepare(object: BpfObject): void {
    for (const spec of object.maps) {
      if (spec.internal) continue;
      const entries = sizeOf(spec);
      if (entries !== undefined) object.setMaxEntries(spec.name, entries);
      const layout = layoutOfSpec(spec, object.btf, entries);
      const held = maps.get(spec.name) ?? take(object, spec, layout);
      if (!held) continue;
      const difference = layoutDifference(held.layout, layout);
      if (difference !== undefined)
        throw new HeddleError(
          'BpfLayout',
          `${held.from} and ${object.name} define the map ${spec.name} differently: ${difference}`,
          { hint: 'a map of several objects is defined in one header; build all of them: make -C bpf' },
        );
      object.reuse(spec.name, held.map.fd);
    }
  }

  /** Undefined: what the object says. A table of the agent's that holds more than it is to hold keeps its size. */
  function sizeOf({ name, type }: MapSpec): number | undefined {
    const wanted = maxEntries[name];
    if (wanted === undefined || type !== MAP_TYPE.HASH) return wanted;
    const held = maps.get(name);
    if (held) return held.layout.maxEntries;
    const fd = getPinned(at(name));
    if (fd === undefined) return wanted;
    const map = openMap(fd, name);
    try {
      return map.maxEntries > wanted && hasMore(map, wanted) ? map.maxEntries : wanted;
    } finally {
      map.close();
    }
  }

  /** The pinned map where it is as the object wants it. One of another layout is kept for `adopt`. */
  function take(object: BpfObject, spec: MapSpec, layout: Layout): HeldMap | undefined {
    if (isTable(spec)) return undefined;
    const fd = getPinned(at(spec.name));
    if (fd === undefined) return undefined;
    const map = openMap(fd, spec.name);
    const difference = layoutDifference(layoutOfKernelMap(map.info, typesOf(fd)), layout);
    if (difference === undefined) return hold(object, spec, map, layout);
    retire(map, difference);
    return undefined;
  }

  function hold(object: BpfObject, spec: MapSpec, map: BpfMap, layout: Layout): HeldMap {
    const held = { map, spec, btf: object.btf, layout, from: object.name };
    maps.set(spec.name, held);
    return held;
  }

  function retire(map: BpfMap, why: string): void {
    earlier.push({ name: map.name, map, types: typesOf(map.fd), path: at(`${map.name}~${map.id}`) });
    migrations.push({ map: map.name, why, copied: 0, unfit: 0 });
  }

  function adopt(object: BpfObject, loaded: LoadedObject): void {
    for (const spec of object.maps) {
      if (spec.internal) continue;
      const fd = loaded.maps.get(spec.name);
      if (fd === undefined) continue;
      loaded.maps.delete(spec.name);
      if (maps.has(spec.name)) {
        fs.closeSync(fd);
        continue;
      }
      const map = openMap(fd, spec.name);
      const layout = layoutOfSpec(spec, object.btf, map.maxEntries);
      fresh.push(hold(object, spec, map, layout));
    }
  }

  function commit(): void {
    for (const { map, path } of earlier) {
      if (!fs.existsSync(path)) pin(map.fd, path);
    }
    for (const held of fresh.splice(0)) {
      if (isTable(held.spec)) pin(held.map.fd, at(`${held.map.name}@${held.map.id}`));
      else replace(held);
    }
  }

  function replace(held: HeldMap): void {
    const { name } = held.map;
    const source = earlier.find((candidate) => candidate.name === name);
    if (source) {
      const result = isCopyable(source.map.type, held.map.type)
        ? copyEntries(source, { map: held.map, types: typesOf(held.map.fd) })
        : { copied: 0, unfit: 0 };
      const index = migrations.findIndex((migration) => migration.map === name);
      const migration = { ...migrations[index]!, ...result };
      migrations[index] = migration;
      log.info('a map of an earlier layout was migrated', { ...migration });
      if (result.unfit > 0) log.warn('entries of a map do not fit its new layout', { ...migration });
    }
    pin(held.map.fd, at(`+${name}`));
    fs.renameSync(at(`+${name}`), at(name));
  }

  /** Earlier maps, also of an opening that ended before it could settle, and tables for tail calls. */
  const leftBehind = () =>
    fs.readdirSync(folder).flatMap((name) => {
      const [, base, kind, id] = /^(.+)([~@])(\d+)$/.exec(name) ?? [];
      return base === undefined ? [] : [{ base, isTable: kind === '@', id: Number(id), path: at(name) }];
    });

  function catchUp(): void {
    for (const { base, isTable, path } of leftBehind()) if (!isTable) copyLate(base, path);
  }

  function settle(): void {
    for (const { base, isTable, id, path } of leftBehind()) {
      if (!isTable) {
        log.info('an earlier map is let go of', { map: base, late: copyLate(base, path) });
        unpin(path);
      } else if (maps.get(base)?.map.id !== id) unpin(path);
    }
    for (const { map } of earlier.splice(0)) map.close();
    copiedLate.clear();
  }

  /** Entries of the map at `path` that were not copied before; returns how many. */
  function copyLate(name: string, path: string): number {
    const held = maps.get(name);
    const fd = getPinned(path);
    if (fd === undefined) return 0;
    const map = openMap(fd, name);
    try {
      const isOurs = isLearned(map.type) || learned.includes(name);
      if (!held || held.map.id === map.id || !isOurs || !isCopyable(map.type, held.map.type)) return 0;
      // Until a link changes nobody uses the map that this opening has made: the earlier one is right.
      const isUnused = !copiedLate.has(path) && earlier.some((each) => each.path === path);
      const known = copiedLate.get(path) ?? new Set<string>();
      copiedLate.set(path, known);
      const to = { map: held.map, types: typesOf(held.map.fd) };
      return copyEntries({ map, types: typesOf(fd) }, to, { onlyMissing: !isUnused, known }).copied;
    } finally {
      map.close();
    }
  }

  return {
    maps,
    migrations,
    prepare,
    adopt,
    commit,
    catchUp,
    settle,
    close() {
      for (const { map } of maps.values()) map.close();
      for (const { map } of earlier.splice(0)) map.close();
    },
  };
}
