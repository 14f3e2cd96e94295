/** What programs cost, as the kernel counts it while somebody asked it to. */
import fs from 'node:fs';
import { attributes, call, COMMAND, must, nameAt, objectInfo } from './syscall.ts';

export interface ProgramStats {
  readonly id: number;
  /** At most 15 bytes. */
  readonly name: string;
  /** Nanoseconds in all runs while counting was on. */
  readonly runTimeNs: bigint;
  readonly runs: bigint;
  /** Instructions that the verifier walked: how near it is to its limit of a million. */
  readonly verifiedInstructions: number;
}

/** Counting costs every program some 10 to 20 ns a run until closed, in all namespaces. */
export function enableStats(): { close(): void } {
  const { bytes } = attributes(4);
  const fd = must(call(COMMAND.ENABLE_STATS, bytes), 'count the time of programs');
  let open = true;
  return {
    close() {
      if (open) fs.closeSync(fd);
      open = false;
    },
  };
}

export function programStats(program: number): ProgramStats {
  const info = objectInfo(program);
  return {
    id: info.getUint32(4, true),
    name: nameAt(info, 64),
    runTimeNs: info.getBigUint64(192, true),
    runs: info.getBigUint64(200, true),
    verifiedInstructions: info.getUint32(216, true),
  };
}
