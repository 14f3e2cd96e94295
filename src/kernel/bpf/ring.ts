/**
 * Records that programs write to a ring buffer map, read from shared memory on the event loop. A full buffer is the
 * writer's to notice (and to count): `bpf_ringbuf_reserve` gives it nothing.
 */
import { HeddleError } from '../../lib/errors.ts';
import { watchFd } from '../ffi.ts';
import { type BpfMap, MAP_TYPE } from './map.ts';
import { mapMemory, PAGE } from './memory.ts';

export interface RingOptions {
  readonly map: Pick<BpfMap, 'fd' | 'name' | 'type' | 'maxEntries'>;
  /**
   * One record: `length` bytes of `bytes` from `at` on, valid until it returns. What is kept must be copied or decoded
   * (`codec.decode(bytes, at)`). What it throws ends the reading of this turn; the record counts as read.
   */
  onRecord(bytes: Uint8Array, at: number, length: number): void;
  /** After the records of one wake-up. */
  onDrained?(): void;
  /** Records of one turn of the event loop; the rest waits for the next. Default 16,384. */
  readonly recordsPerTurn?: number;
}

export interface Ring {
  /** Reads what is there now, without waiting for the event loop. Returns how many records. */
  drain(): number;
  /** Bytes written and not yet read. */
  pending(): number;
  close(): void;
}

const BUSY = 1 << 31;
const DISCARD = 1 << 30;
const LENGTH = DISCARD - 1;
const HEADER = 8;

/** @throws HeddleError `BpfLayout` where the map is no ring buffer, `Kernel` */
export function openRing(options: RingOptions): Ring {
  const { map, onRecord, onDrained, recordsPerTurn = 16_384 } = options;
  if (map.type !== MAP_TYPE.RINGBUF)
    throw new HeddleError('BpfLayout', `the map ${map.name} is no ring buffer`);
  const size = map.maxEntries;
  const consumer = mapMemory({ fd: map.fd, length: PAGE, writable: true });
  // The data lie twice behind the producer's page, so that no record is cut at the end.
  const producer = mapMemory({ fd: map.fd, length: PAGE + 2 * size, offset: PAGE, writable: false });
  const written = new BigUint64Array(producer.bytes().buffer, producer.bytes().byteOffset, 1);
  const read = new BigUint64Array(consumer.bytes().buffer, consumer.bytes().byteOffset, 1);
  const bytes = producer.bytes().subarray(PAGE);
  const headers = new Int32Array(bytes.buffer, bytes.byteOffset, (2 * size) / 4);
  // 2^53 bytes are a century at a gigabit a second.
  let position = Number(Atomics.load(read, 0));
  let open = true;

  function drain(): number {
    let records = 0;
    try {
      while (records < recordsPerTurn) {
        // `onRecord` may close the ring, and with it the memory.
        if (!open || position === Number(Atomics.load(written, 0))) break;
        const at = position % size;
        const header = Atomics.load(headers, at / 4);
        // Reserved, and not yet submitted.
        if (header & BUSY) break;
        const length = header & LENGTH;
        position += (HEADER + length + 7) & ~7;
        if (header & DISCARD) continue;
        records++;
        onRecord(bytes, at + HEADER, length);
      }
    } finally {
      if (open) Atomics.store(read, 0, BigInt(position));
    }
    if (records > 0) onDrained?.();
    return records;
  }

  const watch = watchFd(map.fd, 'readable', drain, { keepAlive: false });
  return {
    drain,
    pending: () => (open ? Number(Atomics.load(written, 0)) - position : 0),
    close() {
      if (!open) return;
      open = false;
      watch.close();
      consumer.close();
      producer.close();
    },
  };
}
