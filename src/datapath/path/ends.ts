/** The two ends of path probes: who asks, and who answers. */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { bindUdp } from '../../kernel/sockets.ts';
import type { Netns } from '../../kernel/netns.ts';
import { errnoCode, errorText } from '../../lib/errors.ts';
import { formatHostPort } from '../../lib/ip.ts';
import type { Log } from '../../lib/log.ts';
import { decodeMessage, encodeAnswer, encodeProbe, type Family, PROBE_PORT } from './wire.ts';

export interface PathEnds {
  /** Milliseconds until the answer; undefined where none came in time, or the packet could not even be sent. */
  probe(to: string, length: number, timeoutMs: number): Promise<number | undefined>;
  /** Own addresses at which nothing is answered now, and why, in words: the port is somebody else's. */
  silent(): string[];
  close(): void;
}

export interface PathEndsOptions {
  /** Where this node answers: own addresses. */
  readonly addresses: readonly string[];
  readonly ns?: Netns;
  readonly log: Log;
  /** Milliseconds until an address that could not be had is tried again. Default 2,000. */
  readonly retryMs?: number;
}

const RETRY = 2000;

interface Asked {
  resolve(rtt: number | undefined): void;
  readonly at: number;
  readonly timer: NodeJS.Timeout;
}

/** Answers go back to who asked from the address that was asked. A port that another has is taken once it is free. */
export function openPathEnds({ addresses, ns, log, retryMs = RETRY }: PathEndsOptions): PathEnds {
  const asked = new Map<bigint, Asked>();
  const familyOf = (address: string): Family => (address.includes(':') ? 6 : 4);
  const open: Socket[] = [];
  const silent = new Map<string, string>();
  let again: NodeJS.Timeout | undefined;
  /** @throws SocketError */
  const socketAt = (address: string, port: number): Socket => {
    const family = familyOf(address);
    const fd = bindUdp(ns, address, port, { whole: true, v6Only: true });
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    // A peer that is gone is told by silence.
    socket.on('error', () => {});
    socket.bind({ fd });
    socket.unref();
    open.push(socket);
    return socket;
  };
  function answerAt(address: string): void {
    const socket = socketAt(address, PROBE_PORT);
    socket.on('message', (payload, from) => {
      const message = decodeMessage(payload);
      if (message?.kind === 'probe') socket.send(encodeAnswer(message), from.port, from.address, () => {});
    });
  }
  function listen(): void {
    for (const address of addresses.filter((each) => !listening.has(each))) {
      try {
        answerAt(address);
        listening.add(address);
        if (silent.delete(address)) log.info('path probes are answered again', { address });
      } catch (error) {
        const why = whyNot(address, error);
        if (!silent.has(address)) log.warn(why);
        silent.set(address, why);
      }
    }
    again = silent.size > 0 ? setTimeout(listen, retryMs).unref() : undefined;
  }
  const listening = new Set<string>();
  listen();
  const askers = new Map<Family, Socket>();
  const asker = (family: Family): Socket => {
    const known = askers.get(family);
    if (known) return known;
    const socket = socketAt(family === 4 ? '0.0.0.0' : '::', 0);
    socket.on('message', (payload) => {
      const message = decodeMessage(payload);
      if (message?.kind === 'answer') answered(message.token);
    });
    askers.set(family, socket);
    return socket;
  };
  function answered(token: bigint): void {
    const one = asked.get(token);
    if (!one) return;
    asked.delete(token);
    clearTimeout(one.timer);
    one.resolve(performance.now() - one.at);
  }
  return {
    probe(to, length, timeoutMs) {
      const family = familyOf(to);
      const token = randomBytes(8).readBigUInt64BE();
      return new Promise((resolve) => {
        const giveUp = () => {
          asked.delete(token);
          resolve(undefined);
        };
        const timer = setTimeout(giveUp, timeoutMs);
        asked.set(token, { resolve, at: performance.now(), timer });
        asker(family).send(encodeProbe(length, token, family), PROBE_PORT, to, () => {});
      });
    },
    silent: () => [...silent.values()],
    close() {
      clearTimeout(again);
      for (const socket of open) socket.close();
      for (const { timer, resolve } of asked.values()) {
        clearTimeout(timer);
        resolve(undefined);
      }
      asked.clear();
    },
  };
}

function whyNot(address: string, error: unknown): string {
  const at = `UDP ${formatHostPort(address, PROBE_PORT)}`;
  return errnoCode(error) === 'EADDRINUSE'
    ? `${at} is taken by another process on this node (ss -ulpn 'sport = ${PROBE_PORT}' names it): other nodes' path probes are not answered there`
    : `${at} cannot be listened at: ${errorText(error)}: other nodes' path probes are not answered there`;
}
