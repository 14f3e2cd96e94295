/** A map's memory in this process: reads and writes without system calls, of one word each atomic. */
import { HeddleError } from '../../lib/errors.ts';
import { libc, memoryAt, systemError } from '../ffi.ts';

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

export const PAGE = libc.sysconf(30);

export interface Memory {
  /** @throws HeddleError `BpfClosed` after `close` */
  bytes(): Uint8Array;
  close(): void;
}

export interface MemoryOptions {
  readonly fd: number;
  readonly length: number;
  /** Default 0; a multiple of `PAGE`. */
  readonly offset?: number;
  readonly writable: boolean;
}

/** The descriptor may be closed afterwards. Arrays got from `bytes` must not be used after `close`. */
export function mapMemory({ fd, length, offset = 0, writable }: MemoryOptions): Memory {
  const whole = Math.ceil(length / PAGE) * PAGE;
  const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  const address = libc.mmap(null, whole, protection, MAP_SHARED, fd, offset);
  const failed = BigInt.asIntN(64, address);
  if (failed < 0n && failed >= -4095n) throw systemError('map the memory of a bpf map', Number(-failed));
  let bytes: Uint8Array | undefined = new Uint8Array(memoryAt(address, length));
  return {
    bytes() {
      if (!bytes) throw new HeddleError('BpfClosed', 'this memory of a bpf map was let go of');
      return bytes;
    },
    close() {
      if (bytes) libc.munmap(address, whole);
      bytes = undefined;
    },
  };
}
