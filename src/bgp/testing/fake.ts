/** Time and connections in memory: the machine of peers without a kernel. */
import type { Timers } from '../timers.ts';
import type { Transport, Wire } from '../transport.ts';

export interface FakeTimers extends Timers {
  /** Runs what falls due in the next `ms`, in order. Between timers what promises wait for is run. */
  advance(ms: number): Promise<void>;
}

export function fakeTimers(): FakeTimers {
  let now = 0;
  let count = 0;
  const due = new Map<number, { at: number; fn: () => void }>();
  /** Long enough for a question, its answer and what follows from that. */
  const turns = async () => {
    for (let i = 0; i < 12; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    now: () => now,
    after(ms, fn) {
      const id = count++;
      due.set(id, { at: now + ms, fn });
      return () => due.delete(id);
    },
    async advance(ms) {
      const end = now + ms;
      for (;;) {
        await turns();
        const next = [...due]
          .filter(([, { at }]) => at <= end)
          .toSorted(([a, x], [b, y]) => x.at - y.at || a - b)[0];
        if (!next) break;
        due.delete(next[0]);
        now = Math.max(now, next[1].at);
        next[1].fn();
      }
      now = end;
    },
  };
}

type Handlers = Parameters<Wire['listen']>[0];

/** Two ends of a connection; octets come in a later turn. */
export function fakeWires(one: string, other: string): [Wire, Wire] {
  const handlers: (Handlers | undefined)[] = [];
  const early: Uint8Array[][] = [[], []];
  let isClosed = false;
  const make = (self: number, localAddress: string, remoteAddress: string): Wire => ({
    localAddress,
    remoteAddress,
    pending: 0,
    send(data) {
      if (isClosed) return;
      const copy = Uint8Array.from(data);
      setImmediate(() => {
        const to = handlers[1 - self];
        if (to) to.onData(copy);
        else early[1 - self]?.push(copy);
      });
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      setImmediate(() => handlers.forEach((each) => each?.onClose('the peer closed the connection')));
    },
    listen(mine) {
      handlers[self] = mine;
      setImmediate(() => early[self]?.splice(0).forEach(mine.onData));
    },
  });
  return [make(0, one, other), make(1, other, one)];
}

export interface FakeNet {
  transport(address: string): Transport;
  /** Connects from `from` as somebody who speaks by hand. */
  dial(from: string, to: string): Wire;
}

export function fakeNet(): FakeNet {
  const listeners = new Map<string, (wire: Wire) => void>();
  function dial(from: string, to: string): Wire {
    const onWire = listeners.get(to);
    if (!onWire) throw Object.assign(new Error(`connect ECONNREFUSED ${to}`), { code: 'ECONNREFUSED' });
    const [near, far] = fakeWires(from, to);
    setImmediate(() => onWire(far));
    return near;
  }
  return {
    dial,
    transport: (address) => ({
      dial: async ({ peerAddress }) => dial(address, peerAddress),
      listen({ onWire }) {
        listeners.set(address, onWire);
        return {
          setPeers() {},
          async close() {
            listeners.delete(address);
          },
        };
      },
    }),
  };
}

/** A kernel with one link, 10.1.1.0/24 and fd00:1:1::/64, that remembers what is written. */
export function fakeKernel(own: string) {
  const routes = new Map<string, string>();
  const link = { index: 2, name: 'uplink', up: true };
  return {
    written: routes,
    route: {
      links: () => [link] as never,
      link: () => link as never,
      addresses: () => [
        { link: 2, address: `${own}/24`, tentative: false },
        { link: 2, address: `fd00:1:1::${own.split('.')[3]}/64`, tentative: false },
      ],
      routes: () => [],
      routeTo: () => undefined,
      replaceRoute: ({ dst, via }: { dst: string; via?: string }) => void routes.set(dst, via ?? ''),
      replaceMultipath: ({ dst }: { dst: string }, hops: readonly { via: string }[]) =>
        void routes.set(dst, hops.map(({ via }) => via).join(' ')),
      deleteRoute: ({ dst }: { dst: string }) => routes.delete(dst),
    },
  };
}
