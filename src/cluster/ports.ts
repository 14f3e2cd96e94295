/** Ports on 127.0.0.1 of the machine's first namespace: all of it that a cluster ever touches. */
import { createServer } from 'node:net';
import { portHolder } from '../kernel/port-holder.ts';
import { checkTcp, listenTcp } from '../kernel/sockets.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';

/** A listening descriptor. @throws HeddleError `PortInUse`, `PortRefused` */
export function listenLocal(port: number, flag: string): number {
  return named(port, flag, () => listenTcp(undefined, '127.0.0.1', port));
}

/** @throws HeddleError as listenLocal */
export function checkPortFree(port: number, flag: string): void {
  named(port, flag, () => checkTcp(undefined, '127.0.0.1', port));
}

function named<T>(port: number, flag: string, fn: () => T): T {
  try {
    return fn();
  } catch (cause) {
    if (errnoCode(cause) === 'EADDRINUSE') {
      const holder = portHolder(port);
      const who = holder ? `${holder.name} (pid ${holder.pid})` : 'another program';
      throw new HeddleError('PortInUse', `port ${port} of 127.0.0.1 is in use by ${who}`, {
        hint: `choose another one with ${flag}, or end who has it`,
      });
    }
    throw new HeddleError('PortRefused', `cannot listen on port ${port} of 127.0.0.1`, { cause });
  }
}

/** One that nobody listens on now. */
export function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
