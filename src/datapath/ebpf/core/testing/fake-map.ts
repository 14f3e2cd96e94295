/** A map of bytes, as the kernel's behave, that can be told to fail. */
import type { TableMap } from '../../map-table.ts';
import { textOf } from '../../map-table.ts';

export interface FakeMap extends TableMap {
  readonly rows: Map<string, readonly [Uint8Array, Uint8Array]>;
  update(key: Uint8Array, value: Uint8Array): void;
  /** Called before each write. */
  onWrite: () => void;
}

export function fakeMap(name: string, keySize: number, valueSize: number): FakeMap {
  const rows: FakeMap['rows'] = new Map();
  const slice = (bytes: Uint8Array, i: number, size: number) => bytes.subarray(i * size, (i + 1) * size);
  // A Buffer's `slice` is no copy.
  const put = (key: Uint8Array, value: Uint8Array) =>
    rows.set(textOf(key), [new Uint8Array(key), new Uint8Array(value)]);
  const map: FakeMap = {
    name,
    keySize,
    valueSize,
    rows,
    onWrite() {},
    entries: () => [...rows.values()].values() as ReturnType<FakeMap['entries']>,
    update(key, value) {
      map.onWrite();
      put(key, value);
    },
    updateBatch(keys, values, count) {
      map.onWrite();
      for (let i = 0; i < count; i++) put(slice(keys, i, keySize), slice(values, i, valueSize));
      return count;
    },
    deleteBatch(keys, count) {
      map.onWrite();
      let gone = 0;
      for (let i = 0; i < count; i++) if (rows.delete(textOf(slice(keys, i, keySize)))) gone++;
      return gone;
    },
  };
  return map;
}
