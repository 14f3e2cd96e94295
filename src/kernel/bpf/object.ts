/**
 * One ELF object of programs, through libbpf: opened (nothing is in the kernel yet), adjusted, loaded. What the
 * kernel holds afterwards are descriptors of ours; the object itself is closed at once.
 */
import fs from 'node:fs';
import { basename } from 'node:path';
import { HeddleError } from '../../lib/errors.ts';
import {
  addressOf,
  errnoName,
  libraryErrno,
  libbpf,
  memoryAt,
  type Pointer,
  withoutSignals,
} from '../ffi.ts';
import { type Btf, KIND, parseBtf } from './btf.ts';
import { codecOf, type Value } from './codec.ts';
import { fdById, mapInfo, objectInfo } from './syscall.ts';

export interface MapSpec {
  /** Of global variables the section: `.rodata`, `.data`, `.bss`. */
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** Numbers in the object's BTF; 0 where the map names no type. */
  readonly keyType: number;
  readonly valueType: number;
  /** It holds global variables, and belongs to this object alone. */
  readonly internal: boolean;
}

export interface Variable {
  readonly name: string;
  readonly section: string;
  readonly offset: number;
  readonly size: number;
  readonly type: number;
}

export interface LoadedObject {
  /** By function name. The caller closes them. */
  readonly programs: ReadonlyMap<string, number>;
  /** By name, reused ones too. The caller closes them, or takes them out. */
  readonly maps: Map<string, number>;
}

export interface BpfObject {
  /** The file's name without `.bpf.o`. */
  readonly name: string;
  readonly btf: Btf;
  /** What `btf` was read from. */
  readonly btfBytes: Uint8Array;
  readonly maps: readonly MapSpec[];
  /** `skipped`: left out by `skip`. */
  readonly programs: readonly {
    readonly name: string;
    readonly section: string;
    readonly skipped: boolean;
  }[];
  /** Global variables by name. */
  readonly variables: ReadonlyMap<string, Variable>;
  setMaxEntries(map: string, entries: number): void;
  /** The programs use this map instead of a new one. libbpf copies the descriptor. */
  reuse(map: string, fd: number): void;
  /** Leaves a program out. */
  skip(program: string): void;
  /** Before `load`; a constant in `.rodata` lets the verifier prune what it excludes. False where it has no such one. */
  setGlobal(name: string, value: Value): boolean;
  /** @throws HeddleError `BpfLoad` with the verifier's last words */
  load(): LoadedObject;
  close(): void;
}

/** The verifier writes here; one for all, since loading is synchronous. */
let logBuffer: Buffer | undefined;
const LOG_BYTES = 4 << 20;

const OPTIONS_SIZE = 80;

/** @throws HeddleError `BpfObject` where the file is missing or no object of programs */
export function openObject(path: string): BpfObject {
  const lib = libbpf();
  logBuffer ??= Buffer.allocUnsafeSlow(LOG_BYTES);
  logBuffer[0] = 0;
  // struct bpf_object_open_opts of libbpf 1.0; later ones are longer and read `sz`.
  const options = Buffer.alloc(OPTIONS_SIZE);
  options.writeBigUInt64LE(BigInt(OPTIONS_SIZE), 0);
  options.writeBigUInt64LE(addressOf(logBuffer), 56);
  options.writeBigUInt64LE(BigInt(LOG_BYTES), 64);
  const object = fs.existsSync(path) ? lib.openFile(path, options) : null;
  if (!object)
    throw new HeddleError('BpfObject', `cannot open the programs ${path}: ${errnoName(libraryErrno())}`, {
      hint: 'build them: make -C bpf (needs clang)',
    });
  try {
    return describe(object, basename(path).replace(/(\.bpf)?\.o$/, ''));
  } catch (error) {
    lib.close(object);
    throw error;
  }
}

function describe(object: Pointer, name: string): BpfObject {
  const lib = libbpf();
  const btfBytes = readBtf(object, name);
  const btf = parseBtf(btfBytes);
  const mapPointers = new Map<string, Pointer>();
  const maps: MapSpec[] = [];
  for (let map = lib.nextMap(object, null); map; map = lib.nextMap(object, map)) {
    // Where a program says "pin by name" libbpf would pin below /sys/fs/bpf: the loader pins.
    lib.mapSetPinPath(map, null);
    const spec = readMap(map);
    maps.push(spec);
    mapPointers.set(spec.name, map);
  }
  const programPointers = new Map<string, Pointer>();
  for (let p = lib.nextProgram(object, null); p; p = lib.nextProgram(object, p))
    programPointers.set(lib.programName(p), p);
  const sections = Array.from(programPointers, ([program, p]) => ({
    name: program,
    section: lib.programSection(p),
  }));
  const variables = readVariables(btf);
  const skipped = new Set<string>();
  let open = true;

  function mapPointer(map: string): Pointer {
    const pointer = mapPointers.get(map);
    if (!pointer) throw new HeddleError('BpfObject', `${name} has no map "${map}"`);
    return pointer;
  }

  function check(result: number, action: string): void {
    if (result === 0) return;
    throw new HeddleError('BpfObject', `cannot ${action} of ${name}: ${errnoName(-result)}`);
  }

  function setGlobal(variableName: string, value: Value): boolean {
    const variable = variables.get(variableName);
    if (!variable) return false;
    const size = Buffer.alloc(8);
    const address = lib.mapInitialValue(mapPointer(variable.section), size);
    if (!address) throw new HeddleError('BpfObject', `${name} keeps no first value for ${variable.section}`);
    const memory = new Uint8Array(memoryAt(address, Number(size.readBigUInt64LE(0))));
    encodeVariable(btf, variable, value, memory, variable.offset);
    return true;
  }

  function load(): LoadedObject {
    // The verifier gives up (EAGAIN) when a signal comes, which a child that ends is enough for.
    const result = withoutSignals(() => lib.load(object));
    if (result !== 0) throw loadError(name, -result);
    const programs = new Map<string, number>();
    const loaded = new Map<string, number>();
    for (const [program, pointer] of programPointers)
      if (!skipped.has(program)) programs.set(program, own('program', lib.programFd(pointer)));
    for (const [map, pointer] of mapPointers) loaded.set(map, own('map', lib.mapFd(pointer)));
    return { programs, maps: loaded };
  }

  return {
    name,
    btf,
    btfBytes,
    maps,
    get programs() {
      return sections.map((program) => ({ ...program, skipped: skipped.has(program.name) }));
    },
    variables,
    setMaxEntries: (map, entries) => check(lib.mapSetMaxEntries(mapPointer(map), entries), `resize ${map}`),
    reuse: (map, fd) => check(lib.mapReuseFd(mapPointer(map), fd), `reuse the map ${map}`),
    skip(program) {
      const pointer = programPointers.get(program);
      if (!pointer) throw new HeddleError('BpfObject', `${name} has no program "${program}"`);
      check(lib.programSetAutoload(pointer, false), `skip the program ${program}`);
      skipped.add(program);
    },
    setGlobal,
    load,
    close() {
      if (open) lib.close(object);
      open = false;
    },
  };
}

/** A descriptor that outlives libbpf's object. */
function own(kind: 'program' | 'map', fd: number): number {
  const id = kind === 'map' ? mapInfo(fd).id : objectInfo(fd).getUint32(4, true);
  const copy = fdById(kind, id);
  if (copy === undefined) throw new HeddleError('BpfObject', `the ${kind} ${id} is gone right after loading`);
  return copy;
}

function readBtf(object: Pointer, name: string): Uint8Array {
  const lib = libbpf();
  const btf = lib.btf(object);
  const size = Buffer.alloc(4);
  const address = btf && lib.btfData(btf, size);
  if (!address)
    throw new HeddleError('BpfObject', `${name} has no type information`, { hint: 'compile it with -g' });
  return new Uint8Array(memoryAt(address, size.readUInt32LE(0))).slice();
}

function readMap(map: Pointer): MapSpec {
  const lib = libbpf();
  const full = lib.mapName(map);
  const internal = lib.mapIsInternal(map);
  return {
    name: internal ? full.slice(Math.max(0, full.indexOf('.'))) : full,
    type: lib.mapType(map),
    keySize: lib.mapKeySize(map),
    valueSize: lib.mapValueSize(map),
    maxEntries: lib.mapMaxEntries(map),
    flags: lib.mapFlags(map),
    keyType: lib.mapKeyType(map),
    valueType: lib.mapValueType(map),
    internal,
  };
}

function readVariables(btf: Btf): Map<string, Variable> {
  const variables = new Map<string, Variable>();
  for (const section of btf.types) {
    if (section.kind !== KIND.DATASEC || !/^\.(rodata|data|bss)/.test(section.name)) continue;
    for (const { type, offset, size } of section.variables) {
      const { name } = btf.byId(type);
      variables.set(name, { name, section: section.name, offset, size, type: btf.byId(type).type });
    }
  }
  return variables;
}

const isStruct = (btf: Btf, type: number): boolean =>
  [KIND.STRUCT, KIND.UNION].some((kind) => kind === btf.resolve(type).kind);

/** @throws HeddleError `BtfValue` where the value does not fit the variable */
export function encodeVariable(
  btf: Btf,
  variable: Variable,
  value: Value,
  into: Uint8Array,
  at: number,
): void {
  const codec = codecOf(btf, variable.type, variable.name);
  codec.encode(isStruct(btf, variable.type) ? (value as { [field: string]: Value }) : { value }, into, at);
}

export function decodeVariable(btf: Btf, variable: Variable, from: Uint8Array, at: number): Value {
  const value = codecOf(btf, variable.type, variable.name).decode(from, at);
  return isStruct(btf, variable.type) ? value : value['value']!;
}

function loadError(name: string, errno: number): HeddleError {
  const log = logBuffer ?? Buffer.alloc(1);
  const end = log.indexOf(0);
  const lines = log.toString('utf8', 0, Math.max(0, end)).trimEnd().split('\n');
  const words = lines.slice(-12).join('\n');
  const hint =
    errno === 1 || errno === 13
      ? words || 'this needs root with CAP_BPF and CAP_NET_ADMIN'
      : words || 'the kernel gave no reason: it may be too old (5.15 is the oldest that is meant to work)';
  return new HeddleError('BpfLoad', `the kernel refuses the programs ${name}: ${errnoName(errno)}`, { hint });
}
