/**
 * Values of C structs by their BTF: field names are the contract, offsets and widths are the compiler's. Numbers
 * are little-endian; fields that the network reads big-endian are the caller's to turn.
 */
import { HeddleError } from '../../lib/errors.ts';
import { type Btf, type BtfMember, type BtfType, KIND, MAX_DEPTH } from './btf.ts';

/**
 * Integers up to 32 bits and enums are numbers, 64 bits bigints, `bool` boolean; arrays of bytes are Uint8Array,
 * other arrays are arrays; structs and unions are objects. Members of anonymous structs and unions stand in the
 * object around them.
 */
export type Value =
  | number
  | bigint
  | boolean
  | Uint8Array
  | readonly Value[]
  | { readonly [field: string]: Value };
export type Fields = { readonly [field: string]: Value };

export interface Codec<T = Fields> {
  /** As `struct flow_key`. */
  readonly name: string;
  readonly size: number;
  readonly fields: readonly string[];
  /**
   * Fields left out are 0, and so is padding: equal objects are equal bytes. Writes into `into` at `at`, else into
   * a new array. @throws HeddleError `BtfValue` for unknown fields, numbers that do not fit, arrays too long
   */
  encode(value: Partial<T>, into?: Uint8Array, at?: number): Uint8Array;
  /** A copy. @throws HeddleError `BtfValue` where `bytes` is too short */
  decode(bytes: Uint8Array, at?: number): T;
}

interface Slot {
  write(view: DataView, at: number, value: Value, path: string): void;
  read(view: DataView, at: number): Value;
}

/** @throws HeddleError `BtfType` where there is no such type, or it is no struct, union or integer */
export function createCodec<T = Fields>(btf: Btf, name: string): Codec<T> {
  const type = btf.find(name);
  if (!type)
    throw new HeddleError('BtfType', `the programs have no type "${name}"`, {
      hint: 'the objects were built from other sources: make -C bpf',
    });
  return codecOf<T>(btf, type.id, name);
}

/** The same by the number of a type: what maps say of their keys and values. Any type that a map can hold. */
export function codecOf<T = Fields>(btf: Btf, id: number, name = nameOf(btf, id)): Codec<T> {
  const size = btf.sizeOf(id);
  const type = btf.resolve(id);
  const isStruct = type.kind === KIND.STRUCT || type.kind === KIND.UNION;
  const members = isStruct ? structMembers(btf, type) : [];
  // A map may hold a bare number: it reads and writes as a struct with the one field `value`.
  if (!isStruct) members.push({ name: 'value', at: 0, slot: slotOf(btf, id, name) });
  const slot = objectSlot(members);

  return {
    name,
    size,
    fields: members.map((member) => member.name),
    encode(value, into, at = 0) {
      const bytes = into ?? new Uint8Array(size);
      if (bytes.length < at + size) throw tooShort(name, size, bytes.length - at);
      if (into) bytes.fill(0, at, at + size);
      slot.write(viewOf(bytes), at, value as Value, name);
      return bytes;
    },
    decode(bytes, at = 0) {
      if (bytes.length < at + size) throw tooShort(name, size, bytes.length - at);
      return slot.read(viewOf(bytes), at) as T;
    },
  };
}

/** The view of the array used last: tables are written entry by entry into one. */
let last: { bytes: Uint8Array; view: DataView } | undefined;

function viewOf(bytes: Uint8Array): DataView {
  if (last?.bytes !== bytes)
    last = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
  return last.view;
}

const nameOf = (btf: Btf, id: number): string => {
  const { kind, name } = btf.resolve(id);
  return kind === KIND.STRUCT
    ? `struct ${name}`
    : kind === KIND.UNION
      ? `union ${name}`
      : name || `type ${id}`;
};

const tooShort = (name: string, size: number, length: number) =>
  new HeddleError('BtfValue', `${name} takes ${size} bytes, there are ${length}`);

const misfit = (path: string, value: Value, wanted: string) =>
  new HeddleError('BtfValue', `${path} cannot be ${describe(value)} (expected ${wanted})`);

const describe = (value: Value): string => {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return typeof value === 'object' ? 'an object' : String(value);
};

interface Member {
  readonly name: string;
  readonly at: number;
  readonly slot: Slot;
}

function structMembers(btf: Btf, type: BtfType, base = 0, depth = 0): Member[] {
  if (depth > MAX_DEPTH) throw new HeddleError('BtfType', `${type.name} is nested too deeply`);
  return type.members.flatMap((member): Member[] => {
    const target = btf.resolve(member.type);
    const at = base + Math.floor(member.bitOffset / 8);
    const end = member.bitOffset + (member.bitSize || btf.sizeOf(member.type) * 8);
    if (end > type.size * 8)
      throw new HeddleError('BtfType', `the field ${member.name} lies outside of ${type.name}`);
    if (member.name === '') {
      const nested = target.kind === KIND.STRUCT || target.kind === KIND.UNION;
      return nested ? structMembers(btf, target, at, depth + 1) : [];
    }
    if (member.bitSize > 0) return [bitField(member, base)];
    return [{ name: member.name, at, slot: slotOf(btf, member.type, member.name, depth + 1) }];
  });
}

function slotOf(btf: Btf, id: number, name: string, depth = 0): Slot {
  if (depth > MAX_DEPTH) throw new HeddleError('BtfType', `${name} is nested too deeply`);
  const type = btf.resolve(id);
  switch (type.kind) {
    case KIND.INT:
      return type.name === '_Bool' ? boolSlot : intSlot(type.size, type.signed, name);
    case KIND.ENUM:
    case KIND.ENUM64:
      return intSlot(type.size, type.signed, name);
    case KIND.PTR:
      return intSlot(8, false, name);
    case KIND.STRUCT:
    case KIND.UNION:
      return objectSlot(structMembers(btf, type, 0, depth + 1));
    case KIND.ARRAY: {
      const element = btf.resolve(type.type);
      return element.kind === KIND.INT && element.size === 1
        ? bytesSlot(type.count)
        : arraySlot(slotOf(btf, type.type, name, depth + 1), btf.sizeOf(type.type), type.count);
    }
    default:
      throw new HeddleError(
        'BtfType',
        `the field ${name} has a type that cannot be written (kind ${type.kind})`,
      );
  }
}

const boolSlot: Slot = {
  write(view, at, value) {
    view.setUint8(at, value === true || value === 1 || value === 1n ? 1 : 0);
  },
  read: (view, at) => view.getUint8(at) !== 0,
};

function intSlot(size: number, signed: boolean, name: string): Slot {
  if (size === 8) return bigSlot(signed);
  if (size === 16) return bytesSlot(16);
  const bits = size * 8;
  const low = signed ? -(2 ** (bits - 1)) : 0;
  const high = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const check = (value: Value, path: string): number => {
    const number = typeof value === 'bigint' || typeof value === 'boolean' ? Number(value) : value;
    if (typeof number === 'number' && number >= low && number <= high && Number.isInteger(number))
      return number;
    throw misfit(path, value, `an integer from ${low} to ${high}`);
  };
  if (size === 1)
    return {
      write: (view, at, value, path) => view.setUint8(at, check(value, path) & 0xff),
      read: signed ? (view, at) => view.getInt8(at) : (view, at) => view.getUint8(at),
    };
  if (size === 2)
    return {
      write: (view, at, value, path) => view.setUint16(at, check(value, path) & 0xffff, true),
      read: signed ? (view, at) => view.getInt16(at, true) : (view, at) => view.getUint16(at, true),
    };
  if (size === 4)
    return {
      write: (view, at, value, path) => view.setUint32(at, check(value, path) >>> 0, true),
      read: signed ? (view, at) => view.getInt32(at, true) : (view, at) => view.getUint32(at, true),
    };
  throw new HeddleError('BtfType', `the field ${name} is an integer of ${size} bytes`);
}

const bigSlot = (signed: boolean): Slot => ({
  write(view, at, value, path) {
    if (typeof value !== 'bigint' && !(typeof value === 'number' && Number.isInteger(value)))
      throw misfit(path, value, 'a 64-bit integer, as a bigint');
    const big = BigInt(value);
    const fits = signed ? BigInt.asIntN(64, big) : BigInt.asUintN(64, big);
    if (fits !== big) throw misfit(path, value, `${signed ? 'a signed' : 'an unsigned'} 64-bit integer`);
    view.setBigUint64(at, BigInt.asUintN(64, big), true);
  },
  read: signed ? (view, at) => view.getBigInt64(at, true) : (view, at) => view.getBigUint64(at, true),
});

const bytesSlot = (count: number): Slot => ({
  write(view, at, value, path) {
    const bytes = value instanceof Uint8Array ? value : undefined;
    if (!bytes || bytes.length > count) throw misfit(path, value, `a Uint8Array of up to ${count} bytes`);
    new Uint8Array(view.buffer, view.byteOffset + at, count).set(bytes);
  },
  read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, count).slice(),
});

const arraySlot = (element: Slot, size: number, count: number): Slot => ({
  write(view, at, value, path) {
    if (!Array.isArray(value) || value.length > count)
      throw misfit(path, value, `an array of up to ${count}`);
    for (let i = 0; i < value.length; i++)
      element.write(view, at + i * size, value[i] as Value, `${path}[${i}]`);
  },
  read: (view, at) => Array.from({ length: count }, (_, i) => element.read(view, at + i * size)),
});

function objectSlot(members: readonly Member[]): Slot {
  const byName = new Map(members.map((member) => [member.name, member]));
  return {
    write(view, at, value, path) {
      if (typeof value !== 'object' || value instanceof Uint8Array || Array.isArray(value))
        throw misfit(path, value, 'an object');
      const fields = value as Fields;
      for (const name in fields) {
        const field = fields[name];
        if (field === undefined) continue;
        const member = byName.get(name);
        if (!member)
          throw new HeddleError('BtfValue', `${path} has no field "${name}"`, {
            hint: `it has ${[...byName.keys()].join(', ')}`,
          });
        member.slot.write(view, at + member.at, field, name);
      }
    },
    read(view, at) {
      const object: Record<string, Value> = {};
      for (const member of members) object[member.name] = member.slot.read(view, at + member.at);
      return object;
    },
  };
}

function bitField({ name, bitOffset, bitSize }: BtfMember, base: number): Member {
  const at = Math.floor(bitOffset / 8);
  const bytes = Math.ceil((bitOffset + bitSize) / 8) - at;
  const shift = BigInt(bitOffset % 8);
  const mask = (1n << BigInt(bitSize)) - 1n;
  const load = (view: DataView, from: number): bigint => {
    let word = 0n;
    for (let i = bytes - 1; i >= 0; i--) word = (word << 8n) | BigInt(view.getUint8(from + i));
    return word;
  };
  const slot: Slot = {
    write(view, to, value, path) {
      const wanted = typeof value === 'object' ? -1n : BigInt(value);
      if (wanted < 0n || wanted > mask) throw misfit(path, value, `an integer from 0 to ${mask}`);
      let word = (load(view, to) & ~(mask << shift)) | (wanted << shift);
      for (let i = 0; i < bytes; i++, word >>= 8n) view.setUint8(to + i, Number(word & 0xffn));
    },
    read(view, from) {
      const value = (load(view, from) >> shift) & mask;
      return bitSize > 32 ? value : Number(value);
    },
  };
  return { name, at: base + at, slot };
}
