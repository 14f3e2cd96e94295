/** Ports on 127.0.0.1 of the machine's first namespace: all of it that a cluster ever touches. */
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

export function isPortFree(port: number): boolean {
  try {
    checkTcp(undefined, '127.0.0.1', port);
    return true;
  } catch {
    return false;
  }
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

/**
 * One that nobody uses now. Below those that the kernel gives to connections (net.ipv4.ip_local_port_range): one of
 * them, ended or not, would be in the way of whoever listens later.
 */
export function freePort(): number {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    try {
      checkTcp(undefined, '127.0.0.1', port);
      return port;
    } catch (error) {
      if (errnoCode(error) !== 'EADDRINUSE') throw error;
    }
  }
  throw new HeddleError('PortInUse', 'no port of 127.0.0.1 from 20000 to 29999 was found free', {
    hint: 'choose one with --api-port',
  });
}
