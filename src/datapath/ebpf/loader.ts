/**
 * A node's programs and maps: loaded from the objects of `bpf/`, maps shared by name and kept over restarts by pins
 * below `pinDir`. Opening attaches nothing: programs of an earlier start go on until links are given the new ones.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { type Codec, codecOf, createCodec, type Fields, type Value } from '../../kernel/bpf/codec.ts';
import type { BpfMap } from '../../kernel/bpf/map.ts';
import { type LoadedObject, openObject } from '../../kernel/bpf/object.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { type Control, openControl } from './control.ts';
import { createGlobals, type Global, type LoadedSections } from './globals.ts';
import { type KeptPrograms, type KeyInput, openKeptPrograms } from './kept-programs.ts';
import { type MapSet, type Migration, openMapSet } from './map-set.ts';

export type { Control } from './control.ts';
export type { Global } from './globals.ts';
export type { Migration } from './map-set.ts';

export interface OpenOptions {
  /** Folder of `<name>.bpf.o`. */
  readonly objectDir: string;
  /** A folder in a bpffs, this node's alone; made where it is missing. */
  readonly pinDir: string;
  readonly log: Log;
  /** Names without `.bpf.o`; default all in `objectDir`. */
  readonly objects?: readonly string[];
  /** Instead of what the object says, by map. A map of another size is migrated. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** First values of global variables, in every object that has one of the name. */
  readonly globals?: Readonly<Record<string, Value>>;
  /** HASH maps that programs fill, beside the LRU ones: what they learn while programs change is kept too. */
  readonly learned?: readonly string[];
  /** Programs that are left out, by function name. */
  readonly skip?: readonly string[];
}

export interface Programs {
  /** @throws HeddleError `BpfMissing` where no object has such a map */
  map(name: string): BpfMap;
  hasMap(name: string): boolean;
  readonly mapNames: readonly string[];
  /** Of `struct flow_key`, from the object that has it. @throws HeddleError `BtfType` */
  codec<T = Fields>(structName: string): Codec<T>;
  /** Codecs of a map's own key and value; a bare number reads as `{value}`. @throws HeddleError `BtfType` */
  mapCodecs<K = Fields, V = Fields>(name: string): { readonly key: Codec<K>; readonly value: Codec<V> };
  /** Descriptor of a program by its function's name. @throws HeddleError `BpfMissing` */
  program(name: string): number;
  readonly programNames: readonly string[];
  /** A global variable of `.data` or `.bss`; where several objects have it, writes go to all of them. */
  global(name: string): Global;
  /** The one entry of an mmapable ARRAY map, as memory: what all programs share, kept over restarts. */
  control(map: string): Control;
  /** Where the attachment `name` is pinned: `<pinDir>/links/<name>`. */
  linkPath(name: string): string;
  /** Objects that went into the kernel; the others were found unchanged, as an earlier opening left them. */
  readonly loaded: readonly string[];
  /** What became of maps of an earlier layout. */
  readonly migrations: readonly Migration[];
  /**
   * To be called right before links are given these programs, and after: copies what earlier programs have learned
   * meanwhile into migrated maps. Each time only what is new.
   */
  catchUp(): void;
  /**
   * To be called once every link runs these programs: copies what earlier programs learned meanwhile into migrated
   * LRU maps, and lets earlier maps and programs go.
   */
  settle(): void;
  /** Lets go of descriptors; pins and attachments stay. */
  close(): void;
}

/** Magic number of the file system. */
const BPF_FS = 0xcafe4a11;

interface Opened extends LoadedSections {
  readonly programs: ReadonlyMap<string, number>;
  readonly input: KeyInput;
  /** False where it was found as an earlier opening left it. */
  readonly isNew: boolean;
}

/** @throws HeddleError `BpfObject`, `BpfLoad`, `BpfLayout`, `BpfMissing`, `BpfPins`, `Kernel` */
export function openPrograms(options: OpenOptions): Programs {
  const { pinDir, log } = options;
  fs.mkdirSync(pinDir, { recursive: true });
  if (fs.statfsSync(pinDir).type !== BPF_FS)
    throw new HeddleError('BpfPins', `${pinDir} is in no bpffs: nothing can be pinned there`, {
      hint: 'mount one: mount -t bpf none /sys/fs/bpf',
    });
  const mapDir = join(pinDir, 'maps');
  const linkDir = join(pinDir, 'links');
  for (const folder of [mapDir, linkDir]) fs.mkdirSync(folder, { recursive: true });
  const set = openMapSet({
    folder: mapDir,
    maxEntries: options.maxEntries ?? {},
    log,
    learned: options.learned ?? [],
  });
  const kept = openKeptPrograms(join(pinDir, 'programs'));
  const opened: Opened[] = [];
  try {
    checkGlobals(options, openObjects(options, { set, kept, opened }));
    set.commit();
    for (const { object, input, programs, maps, isNew } of opened)
      if (isNew) kept.keep(object, input, { programs, maps });
  } catch (error) {
    for (const { programs, maps } of opened) closeAll({ programs, maps });
    set.close();
    throw error;
  }
  return assemble({ set, kept, opened, linkDir });
}

interface Parts {
  readonly set: MapSet;
  readonly kept: KeptPrograms;
  readonly opened: Opened[];
}

/** Loads all objects; returns the names of global variables that were given a first value. */
function openObjects(options: OpenOptions, parts: Parts): Set<string> {
  const given = new Set<string>();
  for (const name of options.objects ?? objectNames(options.objectDir)) openOne(name, options, parts, given);
  return given;
}

function openOne(name: string, options: OpenOptions, { set, kept, opened }: Parts, given: Set<string>): void {
  const { objectDir, globals = {}, skip = [] } = options;
  const path = join(objectDir, `${name}.bpf.o`);
  const object = openObject(path);
  try {
    const mapId = (map: string) => set.maps.get(map)?.map.id;
    const input = { file: fs.readFileSync(path), settings: { globals, skip }, mapId };
    for (const [variable, value] of Object.entries(globals))
      if (object.setGlobal(variable, value)) given.add(variable);
    for (const { name: program } of object.programs) if (skip.includes(program)) object.skip(program);
    set.prepare(object);
    const found = kept.find(object, input);
    const loaded = found ?? object.load();
    opened.push({ object, input, isNew: !found, ...loaded });
    set.adopt(object, loaded);
  } finally {
    object.close();
  }
}

/** @throws HeddleError `BpfObject` where the folder is missing or has none */
function objectNames(folder: string): string[] {
  const files = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
  const names = files
    .filter((file) => file.endsWith('.bpf.o'))
    .map((file) => file.slice(0, -'.bpf.o'.length));
  if (names.length === 0)
    throw new HeddleError('BpfObject', `there are no programs in ${folder}`, {
      hint: 'build them: make -C bpf (needs clang)',
    });
  return names.sort();
}

function checkGlobals({ globals = {} }: OpenOptions, given: ReadonlySet<string>): void {
  const unknown = Object.keys(globals).find((name) => !given.has(name));
  if (unknown !== undefined) throw missing('global variable', unknown);
}

const missing = (what: string, name: string) =>
  new HeddleError('BpfMissing', `no object has a ${what} "${name}"`, {
    hint: 'the objects were built from other sources: make -C bpf',
  });

function closeAll({ programs, maps }: LoadedObject): void {
  for (const fd of [...programs.values(), ...maps.values()]) fs.closeSync(fd);
}

function assemble({ set, kept, opened, linkDir }: Parts & { linkDir: string }): Programs {
  const codecs = new Map<string, Codec>();
  const controls = new Map<string, Control>();
  const globals = createGlobals(opened);
  const programs = new Map<string, number>();
  for (const object of opened)
    for (const [name, fd] of object.programs) if (!programs.has(name)) programs.set(name, fd);
  let isOpen = true;

  function held(name: string) {
    const found = set.maps.get(name);
    if (!found) throw missing('map', name);
    return found;
  }

  function codec(structName: string): Codec {
    const known = codecs.get(structName);
    if (known) return known;
    const holder = opened.find(({ object }) => object.btf.find(structName));
    if (!holder) throw missing('type', structName);
    const made = createCodec(holder.object.btf, structName);
    codecs.set(structName, made);
    return made;
  }

  function typesOf(name: string) {
    const { spec, btf } = held(name);
    if (!spec.keyType || !spec.valueType)
      throw new HeddleError('BtfType', `the map ${name} does not say what its keys and values are`);
    return { btf, keyType: spec.keyType, valueType: spec.valueType };
  }

  return {
    map: (name) => held(name).map,
    hasMap: (name) => set.maps.has(name),
    mapNames: [...set.maps.keys()],
    codec: <T>(structName: string) => codec(structName) as unknown as Codec<T>,
    mapCodecs<K, V>(name: string) {
      const { btf, keyType, valueType } = typesOf(name);
      return { key: codecOf<K>(btf, keyType), value: codecOf<V>(btf, valueType) };
    },
    program(name) {
      const fd = programs.get(name);
      if (fd === undefined) throw missing('program', name);
      return fd;
    },
    programNames: [...programs.keys()],
    global: (name) => globals.global(name),
    control(name) {
      const control = controls.get(name) ?? openControl(held(name).map, typesOf(name));
      controls.set(name, control);
      return control;
    },
    // A bpffs allows no dots.
    linkPath: (name) => join(linkDir, name.replaceAll('.', '_')),
    migrations: set.migrations,
    loaded: opened.flatMap(({ object, isNew }) => (isNew ? [object.name] : [])),
    catchUp: () => set.catchUp(),
    settle() {
      set.settle();
      kept.settle();
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      globals.close();
      for (const control of controls.values()) control.close();
      for (const { programs, maps } of opened) closeAll({ programs, maps });
      set.close();
    },
  };
}
