/**
 * bpf(2) as it is: one function per command, attributes laid out by hand (linux/bpf.h, union bpf_attr). Everything
 * is synchronous. Lengths of what is behind a pointer are the caller's to check: `map.ts` does for maps.
 */
import fs from 'node:fs';
import { addressOf, errnoName, libc, systemError, withoutSignals } from '../ffi.ts';

export const COMMAND = {
  MAP_CREATE: 0,
  MAP_LOOKUP: 1,
  MAP_UPDATE: 2,
  MAP_DELETE: 3,
  MAP_NEXT_KEY: 4,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_TEST_RUN: 10,
  PROG_FD_BY_ID: 13,
  MAP_FD_BY_ID: 14,
  OBJ_INFO: 15,
  PROG_QUERY: 16,
  BTF_LOAD: 18,
  BTF_FD_BY_ID: 19,
  MAP_FREEZE: 22,
  MAP_LOOKUP_BATCH: 24,
  MAP_UPDATE_BATCH: 26,
  MAP_DELETE_BATCH: 27,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_FD_BY_ID: 30,
  ENABLE_STATS: 32,
  LINK_DETACH: 34,
} as const;

/** What the running call points to: an address alone keeps no array from being collected. */
const inUse: { arrays: readonly (Uint8Array | undefined)[] } = { arrays: [] };
const nothing: readonly Uint8Array[] = [];

/**
 * What a call gave: at least 0, or the negative errno. `behind`: the arrays whose addresses are in `attributes`, where
 * nobody else holds them until the call is over.
 */
export function call(
  command: number,
  attributes: Uint8Array,
  ...behind: readonly (Uint8Array | undefined)[]
): number {
  inUse.arrays = behind;
  const result = libc.bpf(command, attributes, attributes.length);
  inUse.arrays = nothing;
  return result;
}

/** @throws HeddleError `Kernel`; `action` reads "pin the map flows4" */
export function must(result: number, action: string): number {
  if (result < 0) throw systemError(action, -result);
  return result;
}

/** `ENOENT` of a failed call. */
export const failure = (result: number): string => errnoName(-result);

export function attributes(size: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(size);
  return { bytes, view: new DataView(bytes.buffer) };
}

export interface MapCreate {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
  readonly name?: string;
  readonly btf?: { readonly fd: number; readonly keyType: number; readonly valueType: number };
}

/** A new map's descriptor. Names are cut to the kernel's 15 bytes. */
export function mapCreate(map: MapCreate): number {
  const { bytes, view } = attributes(72);
  view.setUint32(0, map.type, true);
  view.setUint32(4, map.keySize, true);
  view.setUint32(8, map.valueSize, true);
  view.setUint32(12, map.maxEntries, true);
  view.setUint32(16, map.flags ?? 0, true);
  bytes.set(Buffer.from((map.name ?? '').replaceAll(/[^\w.]/g, '_').slice(0, 15)), 28);
  if (map.btf) {
    view.setUint32(48, map.btf.fd, true);
    view.setUint32(52, map.btf.keyType, true);
    view.setUint32(56, map.btf.valueType, true);
  }
  return must(call(COMMAND.MAP_CREATE, bytes), `make the map ${map.name ?? ''}`);
}

export interface ProgramLoad {
  readonly type: number;
  /** Instructions of 8 bytes. */
  readonly code: Uint8Array;
  readonly attachType?: number;
}

/** A program of one's own few instructions; objects go through libbpf (`object.ts`). */
export function programLoad({ type, code, attachType = 0 }: ProgramLoad): number {
  const { bytes, view } = attributes(72);
  const license = Buffer.from('GPL\0');
  view.setUint32(0, type, true);
  view.setUint32(4, code.length / 8, true);
  view.setBigUint64(8, addressOf(code), true);
  view.setBigUint64(16, addressOf(license), true);
  view.setUint32(68, attachType, true);
  // As for objects: a signal would end the verifier's work with EAGAIN, and what is probed would count as missing.
  return must(
    withoutSignals(() => call(COMMAND.PROG_LOAD, bytes, code, license)),
    'load a program',
  );
}

export function btfLoad(types: Uint8Array): number {
  const { bytes, view } = attributes(28);
  view.setBigUint64(0, addressOf(types), true);
  view.setUint32(16, types.length, true);
  return must(call(COMMAND.BTF_LOAD, bytes, types), 'load type information');
}

/** `path` must be in a bpffs and free. */
export function pin(fd: number, path: string): void {
  const { bytes, view } = attributes(16);
  const name = Buffer.from(`${path}\0`);
  view.setBigUint64(0, addressOf(name), true);
  view.setUint32(8, fd, true);
  must(call(COMMAND.OBJ_PIN, bytes, name), `pin ${path}`);
}

/** The descriptor of what is pinned there; undefined where nothing is. */
export function getPinned(path: string): number | undefined {
  const { bytes, view } = attributes(16);
  const name = Buffer.from(`${path}\0`);
  view.setBigUint64(0, addressOf(name), true);
  const fd = call(COMMAND.OBJ_GET, bytes, name);
  if (fd < 0 && failure(fd) === 'ENOENT') return undefined;
  return must(fd, `open the pin ${path}`);
}

/** Removes the pin only; false where there was none. */
export function unpin(path: string): boolean {
  if (!fs.existsSync(path)) return false;
  fs.rmSync(path, { force: true });
  return true;
}

/** `struct bpf_map_info` and its siblings, as long as the kernel filled them. */
export function objectInfo(fd: number, info: Uint8Array = new Uint8Array(256)): DataView {
  const { bytes, view } = attributes(16);
  view.setUint32(0, fd, true);
  view.setUint32(4, info.length, true);
  view.setBigUint64(8, addressOf(info), true);
  must(call(COMMAND.OBJ_INFO, bytes, info), 'ask about a bpf object');
  return new DataView(info.buffer, info.byteOffset, info.length);
}

/** A descriptor of the program, map, BTF or link with this number; undefined where it is gone. */
export function fdById(kind: 'program' | 'map' | 'btf' | 'link', id: number): number | undefined {
  const { bytes, view } = attributes(12);
  view.setUint32(0, id, true);
  const command = {
    program: COMMAND.PROG_FD_BY_ID,
    map: COMMAND.MAP_FD_BY_ID,
    btf: COMMAND.BTF_FD_BY_ID,
    link: COMMAND.LINK_FD_BY_ID,
  }[kind];
  const fd = call(command, bytes);
  if (fd < 0 && failure(fd) === 'ENOENT') return undefined;
  return must(fd, `open the ${kind} ${id}`);
}

export interface MapInfo {
  readonly type: number;
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** At most 15 bytes. */
  readonly name: string;
  /** 0 where the map has no types. */
  readonly btfId: number;
  readonly btfKeyType: number;
  readonly btfValueType: number;
}

export function mapInfo(fd: number): MapInfo {
  const info = objectInfo(fd);
  const u32 = (at: number) => info.getUint32(at, true);
  return {
    type: u32(0),
    id: u32(4),
    keySize: u32(8),
    valueSize: u32(12),
    maxEntries: u32(16),
    flags: u32(20),
    name: nameAt(info, 24),
    btfId: u32(64),
    btfKeyType: u32(68),
    btfValueType: u32(72),
  };
}

/** The bytes of a BTF object in the kernel, for `parseBtf`. */
export function btfBytes(id: number): Uint8Array | undefined {
  const fd = fdById('btf', id);
  if (fd === undefined) return undefined;
  try {
    // The first call tells the size, the second fills.
    const size = objectInfo(fd, new Uint8Array(32)).getUint32(8, true);
    const data = new Uint8Array(size);
    const request = new Uint8Array(32);
    const view = new DataView(request.buffer);
    view.setBigUint64(0, addressOf(data), true);
    view.setUint32(8, size, true);
    objectInfo(fd, request);
    return data;
  } finally {
    fs.closeSync(fd);
  }
}

export function nameAt(info: DataView, at: number): string {
  const bytes = new Uint8Array(info.buffer, info.byteOffset + at, 16);
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.subarray(0, end < 0 ? 16 : end)).toString();
}
