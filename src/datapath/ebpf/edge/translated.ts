/** Connections of the NAT tables in words: what ends when the tables go. */
import type { TranslatedFlow } from '../../backend.ts';
import { addressText, swapPort } from '../services/address-bytes.ts';
import type { NatKey, NatMap, NatValue } from './cut.ts';

/** As in bpf/include/nat-maps.h. */
const FLAG = {
  reply: 1,
  dsr: 8,
  finRequest: 32,
  finReply: 64,
  reset: 128,
} as const;
const TCP = 6;
const UDP = 17;
const SCTP = 132;
/** Seconds after which silence means that nobody waits, as the programs have it. */
const IDLE: Readonly<Record<number, number>> = { [TCP]: 7440, [UDP]: 180, [SCTP]: 7440 };

const isOver = (flags: number): boolean =>
  (flags & FLAG.reset) !== 0 ||
  ((flags & FLAG.finRequest) !== 0 && (flags & (FLAG.finReply | FLAG.dsr)) !== 0);

/** Neither ended nor silent for too long; of protocols with ports. @param now the programs' clock, ns */
export function isAlive(from: NatKey, to: NatValue, now: bigint): boolean {
  const idle = IDLE[from.protocol];
  return idle !== undefined && !isOver(to.flags) && now - to.last <= BigInt(idle) * 1_000_000_000n;
}

/** Requests alone: each has its answers' entry beside it. @param now the programs' clock, ns */
export function* translatedFlows({ map, key, value }: NatMap, now: bigint): Generator<TranslatedFlow> {
  for (const [keyBytes, valueBytes] of map.entries()) {
    const from = key.decode(keyBytes);
    const to = value.decode(valueBytes);
    if ((to.flags & FLAG.reply) === 0 && isAlive(from, to, now)) yield flowOf(from, to);
  }
}

const flowOf = (from: NatKey, to: NatValue): TranslatedFlow => ({
  protocol: from.protocol,
  client: addressText(from.src),
  clientPort: swapPort(from.sport),
  address: addressText(from.dst),
  port: swapPort(from.dport),
  backend: addressText(to.dst),
  backendPort: swapPort(to.dport),
  ...((to.flags & FLAG.dsr) !== 0 && { onlyHere: true }),
});
