/**
 * The types of programs and maps, as the compiler wrote them down: a parser of BTF's bytes
 * (Documentation/bpf/btf.rst). Pure; offsets and sizes are in bytes unless the name says bits.
 */
import { HeddleError } from '../../lib/errors.ts';

export const KIND = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FWD: 7,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  FLOAT: 16,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const;

export interface BtfMember {
  /** Empty for an anonymous struct or union. */
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  /** 0 where it is no bit field. */
  readonly bitSize: number;
}

export interface BtfType {
  readonly id: number;
  readonly kind: number;
  /** Empty where it has none. */
  readonly name: string;
  /** Of INT, STRUCT, UNION, ENUM, DATASEC, FLOAT, ENUM64; else 0. */
  readonly size: number;
  /** What a PTR, TYPEDEF, VAR, … refers to; of an ARRAY, its elements; else 0. */
  readonly type: number;
  /** Of an ARRAY. */
  readonly count: number;
  readonly signed: boolean;
  /** Of STRUCT and UNION. */
  readonly members: readonly BtfMember[];
  /** Of a DATASEC: its variables. */
  readonly variables: readonly { readonly type: number; readonly offset: number; readonly size: number }[];
  /** Of an ENUM. */
  readonly values: readonly { readonly name: string; readonly value: number }[];
}

export interface Btf {
  /** Index 0 is void. */
  readonly types: readonly BtfType[];
  /** @throws HeddleError `BtfType` */
  byId(id: number): BtfType;
  /** By C's words: `struct flow_key`, `union address`, `enum verdict`, a typedef or basic type by its name alone. */
  find(name: string): BtfType | undefined;
  /** Behind typedefs, const, volatile and tags. */
  resolve(id: number): BtfType;
  /** Bytes of a value of this type. */
  sizeOf(id: number): number;
  /** The type and its members to the last, as one text: equal texts are equal layouts, whatever the numbers. */
  layout(id: number): string;
}

const MAGIC = 0xeb9f;
/** Types within types; damaged bytes may nest for ever. */
export const MAX_DEPTH = 32;
const transparent: ReadonlySet<number> = new Set([
  KIND.TYPEDEF,
  KIND.VOLATILE,
  KIND.CONST,
  KIND.RESTRICT,
  KIND.TYPE_TAG,
]);

const bad = (why: string) => new HeddleError('BtfType', `the type information cannot be read: ${why}`);

/** @throws HeddleError `BtfType` where the bytes are not BTF */
export function parseBtf(bytes: Uint8Array): Btf {
  try {
    return createBtf(readTypes(bytes));
  } catch (error) {
    if (error instanceof RangeError) throw bad('it ends in the middle of a type');
    throw error;
  }
}

function readTypes(bytes: Uint8Array): BtfType[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(0, true) !== MAGIC) throw bad('it does not begin with 0xeb9f');
  const header = view.getUint32(4, true);
  const typeStart = header + view.getUint32(8, true);
  const typeEnd = typeStart + view.getUint32(12, true);
  const textStart = header + view.getUint32(16, true);
  const textEnd = Math.min(bytes.length, textStart + view.getUint32(20, true));
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);

  function string(offset: number): string {
    const from = textStart + offset;
    if (from > textEnd) throw bad('a name lies outside of it');
    const end = text.indexOf(0, from);
    return text.toString('utf8', from, end < 0 ? textEnd : Math.min(end, textEnd));
  }

  const types: BtfType[] = [blank(0)];
  for (let at = typeStart; at < typeEnd; ) {
    const { type, next } = readType(view, at, types.length, string);
    types.push(type);
    at = next;
  }
  return types;
}

const blank = (id: number): BtfType => ({
  id,
  kind: 0,
  name: '',
  size: 0,
  type: 0,
  count: 0,
  signed: false,
  members: [],
  variables: [],
  values: [],
});

const sized: ReadonlySet<number> = new Set([
  KIND.INT,
  KIND.STRUCT,
  KIND.UNION,
  KIND.ENUM,
  KIND.DATASEC,
  KIND.FLOAT,
  KIND.ENUM64,
]);

function readType(view: DataView, at: number, id: number, string: (offset: number) => string) {
  const u32 = (offset: number) => view.getUint32(offset, true);
  const info = u32(at + 4);
  const kind = (info >>> 24) & 0x1f;
  const length = info & 0xffff;
  const flag = info >>> 31 === 1;
  const rest = at + 12;
  const base = {
    ...blank(id),
    kind,
    name: string(u32(at)),
    size: sized.has(kind) ? u32(at + 8) : 0,
    type: sized.has(kind) ? 0 : u32(at + 8),
  };
  const each = <T>(size: number, read: (offset: number) => T): T[] =>
    Array.from({ length }, (_, i) => read(rest + i * size));
  switch (kind) {
    case KIND.INT:
      return { type: { ...base, signed: ((u32(rest) >>> 24) & 1) === 1 }, next: rest + 4 };
    case KIND.ARRAY:
      return { type: { ...base, type: u32(rest), count: u32(rest + 8) }, next: rest + 12 };
    case KIND.STRUCT:
    case KIND.UNION: {
      const members = each(12, (o) => ({
        name: string(u32(o)),
        type: u32(o + 4),
        bitOffset: flag ? u32(o + 8) & 0xffffff : u32(o + 8),
        bitSize: flag ? u32(o + 8) >>> 24 : 0,
      }));
      return { type: { ...base, members }, next: rest + length * 12 };
    }
    case KIND.ENUM: {
      const values = each(8, (o) => ({
        name: string(u32(o)),
        value: flag ? view.getInt32(o + 4, true) : u32(o + 4),
      }));
      return { type: { ...base, signed: flag, values }, next: rest + length * 8 };
    }
    case KIND.ENUM64:
      return { type: { ...base, signed: flag }, next: rest + length * 12 };
    case KIND.DATASEC: {
      const variables = each(12, (o) => ({ type: u32(o), offset: u32(o + 4), size: u32(o + 8) }));
      return { type: { ...base, variables }, next: rest + length * 12 };
    }
    case KIND.FUNC_PROTO:
      return { type: base, next: rest + length * 8 };
    case KIND.VAR:
    case KIND.DECL_TAG:
      return { type: base, next: rest + 4 };
    default:
      if (kind === 0 || kind > KIND.ENUM64) throw bad(`kind ${kind} of type ${id} is unknown`);
      return { type: base, next: rest };
  }
}

const words: Readonly<Record<number, string>> = {
  [KIND.STRUCT]: 'struct ',
  [KIND.UNION]: 'union ',
  [KIND.ENUM]: 'enum ',
  [KIND.ENUM64]: 'enum ',
};

const nameable: ReadonlySet<number> = new Set([
  KIND.INT,
  KIND.STRUCT,
  KIND.UNION,
  KIND.ENUM,
  KIND.TYPEDEF,
  KIND.FLOAT,
  KIND.ENUM64,
  KIND.VAR,
  KIND.DATASEC,
]);

function createBtf(types: readonly BtfType[]): Btf {
  const names = new Map<string, BtfType>();
  for (const type of types) {
    const name = (words[type.kind] ?? '') + type.name;
    if (type.name !== '' && nameable.has(type.kind) && !names.has(name)) names.set(name, type);
  }

  function byId(id: number): BtfType {
    const type = types[id];
    if (!type) throw bad(`there is no type ${id}`);
    return type;
  }

  function resolve(id: number): BtfType {
    let type = byId(id);
    for (let steps = 0; transparent.has(type.kind); steps++) {
      if (steps > 64) throw bad(`type ${id} refers to itself`);
      type = byId(type.type);
    }
    return type;
  }

  function sizeOf(id: number, depth = 0): number {
    if (depth > MAX_DEPTH) throw bad(`type ${id} is nested too deeply`);
    const type = resolve(id);
    if (type.kind === KIND.PTR) return 8;
    if (type.kind === KIND.ARRAY) return type.count * sizeOf(type.type, depth + 1);
    if (type.kind === KIND.VAR) return sizeOf(type.type, depth + 1);
    return type.size;
  }

  function layout(id: number, depth = 0): string {
    if (depth > MAX_DEPTH) throw bad(`type ${id} is nested too deeply`);
    const type = resolve(id);
    switch (type.kind) {
      case KIND.INT:
        return `${type.signed ? 'i' : 'u'}${type.size * 8}`;
      case KIND.ENUM:
      case KIND.ENUM64:
        return `u${type.size * 8}`;
      case KIND.ARRAY:
        return `${layout(type.type, depth + 1)}[${type.count}]`;
      case KIND.STRUCT:
      case KIND.UNION: {
        const members = type.members.map(
          (m) => `${m.name}@${m.bitOffset}${m.bitSize ? `:${m.bitSize}` : ''} ${layout(m.type, depth + 1)}`,
        );
        return `${type.kind === KIND.UNION ? 'union' : ''}{${members.join('; ')}}/${type.size}`;
      }
      default:
        return `kind${type.kind}/${sizeOf(id)}`;
    }
  }

  return {
    types,
    byId,
    find: (name) => names.get(name),
    resolve,
    sizeOf: (id) => sizeOf(id),
    layout: (id) => layout(id),
  };
}
