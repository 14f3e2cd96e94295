/** One agent at a time has a state directory, and a network namespace; the kernel lets go when it ends, however it ends. */
import { closeSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { tryLock } from '../../kernel/flock.ts';
import { errnoCode, HeddleError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { setAside } from '../../lib/state-file.ts';

export interface Lock {
  release(): void;
}

/** @throws HeddleError `AgentBusy` */
export const holdLock = (path: string, log: Pick<Log, 'warn'>): Lock =>
  hold(openLock(path, log), `another agent runs with the state in ${dirname(path)}`);

/** A folder of its name is nobody's lock. */
function openLock(path: string, log: Pick<Log, 'warn'>): number {
  try {
    return openSync(path, 'a+', 0o600);
  } catch (error) {
    if (errnoCode(error) !== 'EISDIR') throw error;
    setAside(path, { log, rebuilt: 'the lock is made anew', error });
    return openSync(path, 'a+', 0o600);
  }
}

/**
 * Of the network namespace of this process: an agent takes away what is marked as Heddle's there and is not in its
 * books, so that two would take away each other's containers. @throws HeddleError `AgentBusy`
 */
export const holdNetwork = (): Lock =>
  hold(openSync('/proc/self/ns/net', 'r'), 'another agent serves containers in this network namespace');

function hold(fd: number, busy: string): Lock {
  if (tryLock(fd)) return { release: () => closeSync(fd) };
  closeSync(fd);
  throw new HeddleError('AgentBusy', busy, {
    hint: 'end it first, or start this one in a network namespace of its own, with a stateDir and a socket of its own',
  });
}
