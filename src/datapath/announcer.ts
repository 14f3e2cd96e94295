/**
 * Answers for addresses that no link has: who asks on the uplink for one that is announced here is told this
 * node's MAC address. The kernel itself never answers for them.
 */
import type { PacketSocket, PacketSocketOptions } from '../kernel/packet-socket.ts';
import type { Clock } from '../lib/clock.ts';
import { canonicalAddress, formatAddress, parseAddress } from '../lib/ip.ts';
import {
  announcement,
  answerTo,
  ETH_ARP,
  ETH_IPV6,
  parseQuestion,
  SOLICITATION_FILTER,
} from './neighbour-frames.ts';

export interface AnnouncerDeps {
  /** The uplink. */
  readonly link: { readonly index: number; readonly mac: string };
  openSocket(options: Omit<PacketSocketOptions, 'ns'>): PacketSocket;
  readonly clock: Clock;
}

export interface Announcer {
  /** Answers from now on, and tells everybody at once. Calling again changes nothing. */
  announce(address: string): void;
  withdraw(address: string): void;
  addresses(): ReadonlySet<string>;
  /** Questions answered. */
  answered(): number;
  close(): void;
}

/** Milliseconds after the first: a switch may drop what comes before it has learned. */
const REPEATS = [200, 1000];

/** @throws HeddleError `Kernel` */
export function createAnnouncer({ link, openSocket, clock }: AnnouncerDeps): Announcer {
  const mac = Buffer.from(link.mac.replaceAll(':', ''), 'hex');
  const announced = new Set<string>();
  const stopped = new AbortController();
  let answered = 0;

  const onFrame = (frame: Buffer): void => {
    const question = parseQuestion(frame);
    if (!question || question.senderMac.equals(mac) || !announced.has(formatAddress(question.target))) return;
    if (sockets[question.family].send(answerTo(question, mac))) answered++;
  };
  const open = (protocol: number) => ({ link: link.index, protocol, onFrame });
  const arp = openSocket(open(ETH_ARP));
  let sockets: Record<4 | 6, PacketSocket>;
  try {
    const discovery = openSocket({ ...open(ETH_IPV6), filter: SOLICITATION_FILTER, allMulticast: true });
    sockets = { 4: arp, 6: discovery };
  } catch (error) {
    arp.close();
    throw error;
  }

  async function tell(address: string): Promise<void> {
    const { family } = parseAddress(address);
    for (const pause of [0, ...REPEATS]) {
      if (pause > 0) await clock.sleep(pause, stopped.signal).catch(() => {});
      if (stopped.signal.aborted || !announced.has(address)) return;
      sockets[family].send(announcement(parseAddress(address), mac));
    }
  }

  return {
    announce(text) {
      const address = canonicalAddress(text);
      if (announced.has(address)) return;
      announced.add(address);
      void tell(address);
    },
    withdraw: (text) => void announced.delete(canonicalAddress(text)),
    addresses: () => announced,
    answered: () => answered,
    close() {
      stopped.abort();
      announced.clear();
      for (const socket of [sockets[4], sockets[6]]) socket.close();
    },
  };
}
