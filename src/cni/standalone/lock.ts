/** One agent at a time has a state directory; the kernel lets go when it ends, however it ends. */
import { closeSync, openSync } from 'node:fs';
import { tryLock } from '../../kernel/flock.ts';
import { HeddleError } from '../../lib/errors.ts';

/** @throws HeddleError `AgentBusy` */
export function holdLock(path: string): { release(): void } {
  const fd = openSync(path, 'a+', 0o600);
  if (tryLock(fd)) return { release: () => closeSync(fd) };
  closeSync(fd);
  throw new HeddleError(
    'AgentBusy',
    `another agent runs with the state in ${path.slice(0, path.lastIndexOf('/'))}`,
    {
      hint: 'end it first, or give this one a stateDir, a socket and podRanges of its own',
    },
  );
}
