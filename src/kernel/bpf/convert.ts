/**
 * A value of one type into one of another, field by field, by name: what moved is copied, what is new is 0, what is
 * gone is left out. Planned once for two types; a value then costs some hundred nanoseconds.
 */
import { type Btf, type BtfType, KIND, MAX_DEPTH } from './btf.ts';

export interface TypeIn {
  readonly btf: Btf;
  readonly type: number;
}

/**
 * Writes at `toAt`, where bytes are 0 before. False where something of the value has no room: a number too large for
 * its field, a field of another kind, array elements other than 0 beyond the end.
 */
export type Convert = (from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number) => boolean;

/** A run of bytes, or a step of its own. Offsets are from the values' beginnings. */
type Step =
  | { readonly kind: 'copy'; readonly from: number; readonly to: number; readonly size: number }
  | { readonly kind: 'zero'; readonly from: number; readonly size: number }
  | { readonly kind: 'number'; readonly from: Bits; readonly to: Bits }
  | { readonly kind: 'never' };

interface Bits {
  readonly at: number;
  readonly size: number;
  readonly signed: boolean;
}

/** A type at a place; `bits` where it is a bit field. */
interface Spot extends TypeIn {
  readonly bitOffset: number;
  readonly bits: number;
}

export function createConverter(from: TypeIn, to: TypeIn): Convert {
  const steps = joined(plan({ ...from, bitOffset: 0, bits: 0 }, { ...to, bitOffset: 0, bits: 0 }, 0));
  return (source, fromAt, target, toAt) => steps.every((step) => perform(step, source, fromAt, target, toAt));
}

function plan(from: Spot, to: Spot, depth: number): Step[] {
  const [source, target] = [from.btf.resolve(from.type), to.btf.resolve(to.type)];
  if (depth > MAX_DEPTH) return [{ kind: 'never' }];
  if (isStruct(source) && isStruct(target)) {
    const known = new Map(members(from, source, depth));
    return members(to, target, depth).flatMap(([name, spot]) => {
      const same = known.get(name);
      return same ? plan(same, spot, depth + 1) : [];
    });
  }
  if (source.kind === KIND.ARRAY && target.kind === KIND.ARRAY)
    return planArray(from, source, to, target, depth);
  if (isNumber(source) && isNumber(target)) return [planNumber(from, source, to, target)];
  return [{ kind: 'never' }];
}

function planArray(from: Spot, source: BtfType, to: Spot, target: BtfType, depth: number): Step[] {
  const [size, newSize] = [from.btf.sizeOf(source.type), to.btf.sizeOf(target.type)];
  const element = (spot: Spot, type: number, i: number, bytes: number): Spot => ({
    btf: spot.btf,
    type,
    bitOffset: spot.bitOffset + i * bytes * 8,
    bits: 0,
  });
  const both = Math.min(source.count, target.count);
  const steps = Array.from({ length: both }, (_, i) =>
    plan(element(from, source.type, i, size), element(to, target.type, i, newSize), depth + 1),
  ).flat();
  const rest = (source.count - both) * size;
  if (rest > 0) steps.push({ kind: 'zero', from: from.bitOffset / 8 + both * size, size: rest });
  return steps;
}

function planNumber(from: Spot, source: BtfType, to: Spot, target: BtfType): Step {
  const bits = (spot: Spot, type: BtfType): Bits => ({
    at: spot.bitOffset,
    size: spot.bits || spot.btf.sizeOf(type.id) * 8,
    signed: type.signed,
  });
  const [a, b] = [bits(from, source), bits(to, target)];
  const whole = [a.at, a.size, b.at].every((number) => number % 8 === 0);
  if (whole && a.size === b.size && a.signed === b.signed)
    return { kind: 'copy', from: a.at / 8, to: b.at / 8, size: a.size / 8 };
  return { kind: 'number', from: a, to: b };
}

const isStruct = ({ kind }: BtfType): boolean => kind === KIND.STRUCT || kind === KIND.UNION;

const numbers: ReadonlySet<number> = new Set([KIND.INT, KIND.ENUM, KIND.ENUM64, KIND.PTR]);
const isNumber = ({ kind }: BtfType): boolean => numbers.has(kind);

/** Named members, those of anonymous structs and unions among them. */
function members(spot: Spot, type: BtfType, depth: number): [string, Spot][] {
  if (depth > MAX_DEPTH) return [];
  return type.members.flatMap((member): [string, Spot][] => {
    const inner: Spot = {
      btf: spot.btf,
      type: member.type,
      bitOffset: spot.bitOffset + member.bitOffset,
      bits: member.bitSize,
    };
    if (member.name !== '') return [[member.name, inner]];
    const nested = spot.btf.resolve(member.type);
    return isStruct(nested) ? members(inner, nested, depth + 1) : [];
  });
}

/** Neighbours in both become one run. */
function joined(steps: readonly Step[]): Step[] {
  const out: Step[] = [];
  for (const step of steps) {
    const last = out.at(-1);
    const follows =
      step.kind === 'copy' &&
      last?.kind === 'copy' &&
      last.from + last.size === step.from &&
      last.to + last.size === step.to;
    if (follows) out[out.length - 1] = { ...last, size: last.size + step.size };
    else out.push(step);
  }
  return out;
}

function perform(step: Step, source: Uint8Array, fromAt: number, target: Uint8Array, toAt: number): boolean {
  switch (step.kind) {
    case 'copy': {
      const [from, to] = [fromAt + step.from, toAt + step.to];
      for (let i = 0; i < step.size; i++) target[to + i] = source[from + i] ?? 0;
      return true;
    }
    case 'zero': {
      for (let i = 0; i < step.size; i++) if (source[fromAt + step.from + i] !== 0) return false;
      return true;
    }
    case 'number': {
      const value = readBits(source, fromAt * 8, step.from);
      const size = step.to.size;
      const fits = step.to.signed ? BigInt.asIntN(size, value) : BigInt.asUintN(size, value);
      if (fits !== value) return false;
      writeBits(target, toAt * 8, step.to, value);
      return true;
    }
    default:
      return false;
  }
}

function readBits(bytes: Uint8Array, base: number, { at, size, signed }: Bits): bigint {
  let value = 0n;
  for (let bit = size - 1; bit >= 0; bit--) {
    const index = base + at + bit;
    value = (value << 1n) | BigInt(((bytes[index >> 3] ?? 0) >> (index & 7)) & 1);
  }
  return signed ? BigInt.asIntN(size, value) : value;
}

function writeBits(bytes: Uint8Array, base: number, { at, size }: Bits, value: bigint): void {
  let rest = BigInt.asUintN(size, value);
  for (let bit = 0; bit < size; bit++, rest >>= 1n) {
    const index = base + at + bit;
    const mask = 1 << (index & 7);
    bytes[index >> 3] = rest & 1n ? (bytes[index >> 3] ?? 0) | mask : (bytes[index >> 3] ?? 0) & ~mask;
  }
}
