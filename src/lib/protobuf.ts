/** Protocol buffers' wire format, as far as Kubernetes' messages use it: varints and lengths. */
export type WireValue = bigint | Uint8Array;

export interface WireField {
  readonly number: number;
  readonly value: WireValue;
}

export class WireError extends Error {}

/** The fields of one message in order. @throws WireError */
export function* readFields(bytes: Uint8Array): Generator<WireField> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new WireError('a number is cut off');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw new WireError('a number is longer than 64 bits');
  };
  const take = (length: number): Uint8Array => {
    if (length < 0 || at + length > bytes.length) throw new WireError('a field is cut off');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const number = tag >>> 3;
    switch (tag & 7) {
      case 0:
        yield { number, value: varint() };
        break;
      case 1:
        yield { number, value: take(8) };
        break;
      case 2:
        yield { number, value: take(Number(varint())) };
        break;
      case 5:
        yield { number, value: take(4) };
        break;
      default:
        throw new WireError(`wire type ${tag & 7} is not known`);
    }
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** @throws WireError */
export function textOf(value: WireValue): string {
  if (typeof value === 'bigint') throw new WireError('expected a text, found a number');
  try {
    return decoder.decode(value);
  } catch {
    throw new WireError('a text is not UTF-8');
  }
}

/** @throws WireError */
export function bytesOf(value: WireValue): Uint8Array {
  if (typeof value === 'bigint') throw new WireError('expected bytes, found a number');
  return value;
}

/** @throws WireError */
export function numberOf(value: WireValue): number {
  if (typeof value !== 'bigint') throw new WireError('expected a number, found bytes');
  return Number(value);
}

/** A number, negative ones as 64 bits. */
export function varintBytes(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}

/** A field that holds a number, or bytes of some length. */
export function fieldBytes(number: number, value: WireValue): Buffer {
  if (typeof value === 'bigint') return Buffer.concat([varintBytes(BigInt(number * 8)), varintBytes(value)]);
  return Buffer.concat([varintBytes(BigInt(number * 8 + 2)), varintBytes(BigInt(value.length)), value]);
}

/** Numbers that stand packed in one field. @throws WireError */
export function* packedNumbers(bytes: Uint8Array): Generator<bigint> {
  for (let at = 0; at < bytes.length; ) {
    let end = at;
    while (bytes[end] !== undefined && bytes[end]! >= 0x80) end++;
    // As a field of its own, which has one reader.
    const one = Buffer.concat([Buffer.from([8]), bytes.subarray(at, end + 1)]);
    for (const { value } of readFields(one)) yield value as bigint;
    at = end + 1;
  }
}
