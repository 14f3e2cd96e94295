/** The ports of a rule, made ready to ask: ranges of numbers by protocol, in order; the rest is asked one by one. */
import type { PortMatch } from '../model.ts';
import type { PortProtocol, Protocol } from '../world.ts';

export interface PortIndex {
  /** First and last of each range, ascending and apart. */
  readonly ranges: Readonly<Record<PortProtocol, Uint16Array>>;
  /** What only the destination can tell. */
  readonly others: readonly PortMatch[];
}

/** Undefined: every protocol and port. */
export function indexPorts(ports: readonly PortMatch[] | null): PortIndex | undefined {
  if (ports === null) return undefined;
  const ranges = { TCP: rangesOf(ports, 'TCP'), UDP: rangesOf(ports, 'UDP'), SCTP: rangesOf(ports, 'SCTP') };
  return { ranges, others: ports.filter((port) => !('first' in port)) };
}

export const hasRange = ({ ranges }: PortIndex, protocol: Protocol, port: number | undefined): boolean =>
  port !== undefined && protocol !== 'ICMP' && protocol !== 'OTHER' && isIn(ranges[protocol], port);

const none = new Uint16Array();

function rangesOf(ports: readonly PortMatch[], protocol: PortProtocol): Uint16Array {
  const own = ports
    .flatMap((port) => ('first' in port && port.protocol === protocol ? [port] : []))
    .sort((a, b) => a.first - b.first);
  if (own.length === 0) return none;
  const merged: { first: number; last: number }[] = [];
  for (const { first, last } of own) {
    const before = merged.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else merged.push({ first, last });
  }
  return Uint16Array.from(merged.flatMap(({ first, last }) => [first, last]));
}

function isIn(ranges: Uint16Array, port: number): boolean {
  let [low, high] = [0, ranges.length >> 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[2 * middle + 1]! < port) low = middle + 1;
    else high = middle;
  }
  return 2 * low < ranges.length && ranges[2 * low]! <= port;
}
