/** Objects to messages of the CRI and back, by the table in messages.ts. */
import {
  bytesOf,
  fieldBytes,
  numberOf,
  packedNumbers,
  readFields,
  textOf,
  varintBytes,
  WireError,
  type WireValue,
} from '../lib/protobuf.ts';
import { type FieldSpec, fieldsOf } from './messages.ts';

type Fields = Record<string, unknown>;

const NS_PER_MS = 1_000_000n;
const MAX_DEPTH = 20;

/** What is undefined, or the zero of its type, is left out (proto3). */
export function encode(message: string, value: object): Buffer {
  const fields = value as Fields;
  return Buffer.concat(fieldsOf(message).map((field) => encodeField(field, fields[field.name])));
}

function encodeField(field: FieldSpec, value: unknown): Buffer {
  const { number, type, list } = field;
  if (value === undefined || value === null) return Buffer.alloc(0);
  if (type === 'm') return encodeMap(number, value as Readonly<Record<string, string>>);
  if (!list) return encodeOne(field, value, false);
  const all = value as readonly unknown[];
  if (type !== 'i') return Buffer.concat(all.map((one) => encodeOne(field, one, true)));
  if (all.length === 0) return Buffer.alloc(0);
  return fieldBytes(number, Buffer.concat(all.map((one) => varintBytes(BigInt(one as number)))));
}

/** `always`: the items of a list are there, whatever they are. */
function encodeOne({ number, type }: FieldSpec, value: unknown, always: boolean): Buffer {
  if (type === 'i' || type === 'b')
    return value || always ? fieldBytes(number, BigInt(Number(value))) : Buffer.alloc(0);
  if (type === 't') return fieldBytes(number, BigInt(Math.round(value as number)) * NS_PER_MS);
  // A message that is there and empty is not one that is left out.
  if (type !== 's' && type !== 'y') return fieldBytes(number, encode(type, value as object));
  const bytes = Buffer.from(value as string | Uint8Array);
  return bytes.length > 0 || always ? fieldBytes(number, bytes) : Buffer.alloc(0);
}

const encodeMap = (number: number, map: Readonly<Record<string, string>>): Buffer =>
  Buffer.concat(
    Object.entries(map).map(([key, value]) =>
      fieldBytes(number, Buffer.concat([fieldBytes(1, Buffer.from(key)), fieldBytes(2, Buffer.from(value))])),
    ),
  );

/** Every field of the table is there, but for messages that are left out. @throws WireError */
export function decode(message: string, bytes: Uint8Array, depth = 0): Fields {
  if (depth > MAX_DEPTH) throw new WireError('it is nested too deeply');
  const specs = fieldsOf(message);
  const result: Fields = Object.fromEntries(
    specs.flatMap((field) => (field.list || isPlain(field.type) ? [[field.name, zeroOf(field)]] : [])),
  );
  for (const { number, value } of readFields(bytes)) {
    const field = specs.find((one) => one.number === number);
    if (field) put(result, field, value, depth);
  }
  return result;
}

const isPlain = (type: string): boolean => ['s', 'i', 'b', 'y', 't', 'm'].includes(type);

function zeroOf({ type, list }: FieldSpec): unknown {
  if (list) return [];
  if (type === 'm') return {};
  if (type === 's') return '';
  if (type === 'y') return new Uint8Array();
  return type === 'b' ? false : 0;
}

function put(result: Fields, { name, type, list }: FieldSpec, value: WireValue, depth: number): void {
  if (type === 'm') {
    const pair = [...readFields(bytesOf(value))];
    const text = (number: number) => textOf(pair.find((one) => one.number === number)?.value ?? Buffer.of());
    Object.defineProperty(result[name], text(1), {
      value: text(2),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  } else if (list && type === 'i' && typeof value !== 'bigint')
    (result[name] as number[]).push(...[...packedNumbers(value)].map(Number));
  else if (list) (result[name] as unknown[]).push(readOne(type, value, depth));
  else result[name] = readOne(type, value, depth);
}

function readOne(type: string, value: WireValue, depth: number): unknown {
  if (type === 's') return textOf(value);
  if (type === 'y') return bytesOf(value);
  if (type === 'i') return numberOf(value);
  if (type === 'b') return numberOf(value) !== 0;
  if (type === 't') return Number(timeOf(value) / NS_PER_MS);
  return decode(type, bytesOf(value), depth + 1);
}

function timeOf(value: WireValue): bigint {
  if (typeof value !== 'bigint') throw new WireError('expected a number, found bytes');
  return value;
}
