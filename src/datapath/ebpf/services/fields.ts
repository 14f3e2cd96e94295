/**
 * Quick writers of struct fields: ten thousands of entries are written at a start, and the general codec takes
 * microseconds for each. Where a field is, the codec itself is asked once.
 */
import type { Codec } from '../../../kernel/bpf/codec.ts';

/** Of an integer or an array of bytes. */
export function offsetOf<T>(codec: Codec<T>, field: keyof T & string, ones: T[keyof T & string]): number {
  const at = codec.encode({ [field]: ones } as unknown as Partial<T>).findIndex((byte) => byte !== 0);
  if (at < 0) throw new Error(`${codec.name} has no place for ${field}`);
  return at;
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function u32Bytes(first: number, second?: number): Uint8Array {
  const bytes = new Uint8Array(second === undefined ? 4 : 8);
  write32(bytes, 0, first);
  if (second !== undefined) write32(bytes, 4, second);
  return bytes;
}
