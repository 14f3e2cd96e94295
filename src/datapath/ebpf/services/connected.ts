/** Sockets that are connected to services, as the programs note them: each in its slot, or where that is taken by its cookie. */
import type { Programs } from '../loader.ts';

export interface ConnectedSocket {
  /** Its cookie, and its network namespace's. */
  readonly socket: bigint;
  readonly netns: bigint;
  /** Of the backend. */
  readonly number: number;
}

interface Service {
  readonly number: number;
  readonly netns: bigint;
}

export interface ConnectedSockets extends Iterable<ConnectedSocket> {
  of(socket: bigint): ConnectedSocket | undefined;
}

export function connectedSockets(programs: Pick<Programs, 'map' | 'codec'>): ConnectedSockets {
  const [slots, others] = [programs.map('socket_slots'), programs.map('socket_services')];
  const slot = programs.codec<{ socket: bigint; service: Service }>('struct socket_slot');
  const service = programs.codec<Service>('struct socket_service');
  const entry = (socket: bigint, { number, netns }: Service): ConnectedSocket => ({ socket, number, netns });

  return {
    *[Symbol.iterator]() {
      for (const [, bytes] of slots.entries()) {
        const taken = slot.decode(bytes);
        // Taken just now: nothing is written yet.
        if (taken.socket !== 0n && taken.service.number !== 0) yield entry(taken.socket, taken.service);
      }
      for (const [key, bytes] of others.entries()) yield entry(cookieOf(key), service.decode(bytes));
    },
    of(socket) {
      const index = Number(socket % BigInt(slots.maxEntries));
      const bytes = slots.lookup(new Uint8Array(Uint32Array.of(index).buffer));
      const taken = bytes && slot.decode(bytes);
      if (taken?.socket === socket) return entry(socket, taken.service);
      const other = others.lookup(new Uint8Array(BigUint64Array.of(socket).buffer));
      return other && entry(socket, service.decode(other));
    },
  };
}

const cookieOf = (key: Uint8Array): bigint => Buffer.from(key).readBigUInt64LE();
