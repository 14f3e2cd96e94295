/** The kernel's own connection tracking as flows, for backends that leave translation to it. */
import type { Tuple } from '../kernel/conntrack.ts';
import type { Counter, TrackedFlow } from './backend.ts';

/** The parts of kernel/conntrack.ts that this reads. */
export interface TrackedConnection {
  readonly original: Tuple;
  readonly reply: Tuple;
  readonly status: number;
  readonly timeout: number | undefined;
  readonly tcpState?: string | undefined;
  readonly sent?: Counter | undefined;
  readonly received?: Counter | undefined;
}

const SEEN_REPLY = 2;

export function trackedFlow({ original, reply, ...rest }: TrackedConnection): TrackedFlow {
  const answersAs = { address: reply.src, port: reply.srcPort };
  const seenAs = { address: reply.dst, port: reply.dstPort };
  return {
    protocol: original.protocol,
    src: original.src,
    sport: original.srcPort,
    dst: original.dst,
    dport: original.dstPort,
    backend: same(answersAs, original.dst, original.dstPort) ? undefined : answersAs,
    seenAs: same(seenAs, original.src, original.srcPort) ? undefined : seenAs,
    state: rest.tcpState ?? ((rest.status & SEEN_REPLY) === 0 ? 'unanswered' : 'answered'),
    sent: rest.sent,
    received: rest.received,
    expires: rest.timeout,
  };
}

const same = (end: { address: string; port: number }, address: string, port: number): boolean =>
  end.address === address && end.port === port;
