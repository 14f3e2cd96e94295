/**
 * Entries of a map into one of another layout: field by field, by name. Fields that only one of them has are left
 * out or 0. It works in both directions: an older build reads a newer map the same way.
 */
import { codecOf, type Codec, type Fields, type Value } from '../../kernel/bpf/codec.ts';
import { type BpfMap, MAP_TYPE, NOEXIST, possibleCpus } from '../../kernel/bpf/map.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { MapTypes } from './layout.ts';

export interface Copied {
  readonly copied: number;
  /** Entries whose values the new layout cannot hold, or for which it had no place. */
  readonly unfit: number;
}

export interface Side {
  readonly map: BpfMap;
  readonly types: MapTypes | undefined;
}

type Convert = (bytes: Uint8Array) => Uint8Array | undefined;

const perCpu: ReadonlySet<number> = new Set([
  MAP_TYPE.PERCPU_ARRAY,
  MAP_TYPE.PERCPU_HASH,
  MAP_TYPE.LRU_PERCPU_HASH,
]);
const keyed: ReadonlySet<number> = new Set([
  MAP_TYPE.HASH,
  MAP_TYPE.ARRAY,
  MAP_TYPE.PERCPU_HASH,
  MAP_TYPE.PERCPU_ARRAY,
  MAP_TYPE.LRU_HASH,
  MAP_TYPE.LRU_PERCPU_HASH,
  MAP_TYPE.LPM_TRIE,
]);
const learning: ReadonlySet<number> = new Set([MAP_TYPE.LRU_HASH, MAP_TYPE.LRU_PERCPU_HASH]);

/** Whether programs write its entries: what they add during a change of programs is worth copying afterwards. */
export const isLearned = (type: number): boolean => learning.has(type);

/** Ring buffers and tables of programs hold nothing that another can take. */
export const isCopyable = (from: number, to: number): boolean =>
  keyed.has(from) && keyed.has(to) && perCpu.has(from) === perCpu.has(to);

/** `onlyMissing`: an entry that `to` has stays as it is there. */
export function copyEntries(from: Side, to: Side, options: { onlyMissing?: boolean } = {}): Copied {
  const key = converter(from, to, 'keyType');
  const value = perCpu.has(from.map.type) ? perCpuConverter(from, to) : converter(from, to, 'valueType');
  const isArray = from.map.type === MAP_TYPE.ARRAY || from.map.type === MAP_TYPE.PERCPU_ARRAY;
  let copied = 0;
  let unfit = 0;
  for (const [oldKey, oldValue] of from.map.entries()) {
    // An array has all of its entries always; those of zeros are none.
    if (isArray && oldValue.every((byte) => byte === 0)) continue;
    const newKey = key(oldKey);
    const newValue = newKey && value(oldValue);
    if (newKey && newValue && write(to.map, newKey, newValue, options.onlyMissing === true)) copied++;
    else if (!newKey || !newValue || !options.onlyMissing) unfit++;
  }
  return { copied, unfit };
}

function write(map: BpfMap, key: Uint8Array, value: Uint8Array, onlyMissing: boolean): boolean {
  try {
    return map.update(key, value, onlyMissing ? NOEXIST : 0);
  } catch (error) {
    if (error instanceof HeddleError && error.code === 'BpfMapFull') return false;
    throw error;
  }
}

/** Equal layouts are copied as they are; without types there is nothing to go by but the length. */
function converter(from: Side, to: Side, field: 'keyType' | 'valueType'): Convert {
  if (!from.types || !to.types) {
    const size = field === 'keyType' ? to.map.keySize : to.map.info.valueSize;
    return (bytes) => (bytes.length === size ? bytes : undefined);
  }
  const { btf: oldBtf } = from.types;
  const { btf: newBtf } = to.types;
  if (oldBtf.layout(from.types[field]) === newBtf.layout(to.types[field])) return (bytes) => bytes;
  const decoder = codecOf(oldBtf, from.types[field]);
  const encoder = codecOf(newBtf, to.types[field]);
  const shape = encoder.decode(new Uint8Array(encoder.size));
  return (bytes) => convert(bytes, decoder, encoder, shape);
}

function convert(bytes: Uint8Array, decoder: Codec, encoder: Codec, shape: Fields): Uint8Array | undefined {
  try {
    return encoder.encode(fit(decoder.decode(bytes), shape) as Fields);
  } catch (error) {
    if (error instanceof HeddleError && error.code === 'BtfValue') return undefined;
    throw error;
  }
}

/** `value` with the fields of `shape` only. @throws HeddleError `BtfValue` where something would be lost in a field */
function fit(value: Value, shape: Value): Value {
  if (shape instanceof Uint8Array) return fitBytes(value, shape.length);
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) throw unlike();
    const kept = value.slice(0, shape.length) as Value[];
    if ((value.slice(shape.length) as Value[]).some((rest) => !isZero(rest))) throw unlike();
    return kept.map((element, i) => fit(element, shape[i] as Value));
  }
  if (typeof shape === 'object') {
    if (typeof value !== 'object' || value instanceof Uint8Array || Array.isArray(value)) throw unlike();
    const fields: Record<string, Value> = {};
    for (const [name, inner] of Object.entries(shape as Fields)) {
      const known = (value as Fields)[name];
      if (known !== undefined) fields[name] = fit(known, inner);
    }
    return fields;
  }
  if (typeof value === 'object') throw unlike();
  return value;
}

function fitBytes(value: Value, length: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw unlike();
  if (value.subarray(length).some((byte) => byte !== 0)) throw unlike();
  return value.subarray(0, length);
}

const isZero = (value: Value): boolean =>
  typeof value === 'object'
    ? Object.values(value as Fields).every((inner) => isZero(inner))
    : Number(value) === 0;

const unlike = () => new HeddleError('BtfValue', 'the field is of another kind');

function perCpuConverter(from: Side, to: Side): Convert {
  const one = converter(from, to, 'valueType');
  const cpus = possibleCpus();
  const oldStride = from.map.valueSize / cpus;
  const newStride = to.map.valueSize / cpus;
  return (bytes) => {
    const out = new Uint8Array(to.map.valueSize);
    for (let cpu = 0; cpu < cpus; cpu++) {
      const start = cpu * oldStride;
      const value = one(bytes.subarray(start, start + from.map.info.valueSize));
      if (!value) return undefined;
      out.set(value, cpu * newStride);
    }
    return out;
  };
}
