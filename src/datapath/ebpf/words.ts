/** Memory shared with running programs: a word is written in one store, so that no program sees half of it. */

/** Writes `value` at `offset`; in one ordered store where it is a word of 1, 2, 4 or 8 bytes and aligned. */
export function storeWord(memory: Uint8Array, offset: number, value: Uint8Array): void {
  const { length } = value;
  const at = memory.byteOffset + offset;
  const view = new DataView(value.buffer, value.byteOffset, length);
  if (at % length !== 0) memory.set(value, offset);
  else if (length === 1) Atomics.store(new Uint8Array(memory.buffer, at, 1), 0, view.getUint8(0));
  else if (length === 2) Atomics.store(new Uint16Array(memory.buffer, at, 1), 0, view.getUint16(0, true));
  else if (length === 4) Atomics.store(new Uint32Array(memory.buffer, at, 1), 0, view.getUint32(0, true));
  else if (length === 8)
    Atomics.store(new BigUint64Array(memory.buffer, at, 1), 0, view.getBigUint64(0, true));
  else memory.set(value, offset);
}
