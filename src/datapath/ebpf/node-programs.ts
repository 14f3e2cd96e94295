/** A node's programs with all that decides what is loaded, said once: a thread prepares what the backend then finds. */
import type { Log } from '../../lib/log.ts';
import { openPrograms, type Programs } from './loader.ts';
import { SOCKET_MAPS, socketGlobals } from './services/attach.ts';
import { unneededPrograms } from './unneeded.ts';

export interface NodePrograms {
  /** Folder of `<hook>.bpf.o`. */
  readonly objectDir: string;
  /** Of this node alone, in a bpffs. */
  readonly pinDir: string;
  /** Entries of maps, by name: of `mapSizes`. Others are as large as the objects say. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  readonly log: Log;
}

/** @throws HeddleError `BpfObject`, `BpfLoad`, `BpfLayout`, `Kernel` */
export const openNodePrograms = ({ objectDir, pinDir, maxEntries = {}, log }: NodePrograms): Programs =>
  openPrograms({
    objectDir,
    pinDir,
    log,
    maxEntries,
    globals: socketGlobals(),
    learned: SOCKET_MAPS,
    skip: unneededPrograms(),
  });
