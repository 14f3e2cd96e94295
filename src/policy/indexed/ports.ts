/** The ports of a rule, made ready to ask: numbers by search, one by one only what the destination alone can tell. */
import { portsMatch } from '../decide.ts';
import type { NamedPort, PortMatch, Rule } from '../model.ts';
import { type NamedPorts, nameKey } from '../named-ports.ts';
import type { ResolvedFlow } from '../scene.ts';
import type { PortProtocol } from '../world.ts';

export function createPortMatcher(rule: Rule): (flow: ResolvedFlow) => boolean {
  const { ports, sourcePorts } = rule;
  if (sourcePorts) return (flow) => portsMatch(rule, flow);
  if (ports === null) return () => true;
  const [tcp, udp, sctp] = (['TCP', 'UDP', 'SCTP'] as const).map((protocol) =>
    rangesOf(ports.flatMap((port) => ('first' in port && port.protocol === protocol ? [port] : []))),
  );
  const names = ports.filter((port) => 'name' in port);
  const others = ports.filter((port) => !('first' in port || 'name' in port));
  const rest = others.length > 0 ? { ports: others } : undefined;
  return (flow) => {
    const { protocol, port } = flow;
    const ranges =
      protocol === 'TCP' ? tcp : protocol === 'UDP' ? udp : protocol === 'SCTP' ? sctp : undefined;
    if (ranges && port !== undefined && (isIn(ranges, port) || isNamed(names, flow))) return true;
    return rest !== undefined && portsMatch(rest, flow);
  };
}

function isNamed(names: readonly NamedPort[], { dst, protocol, port }: ResolvedFlow): boolean {
  if (names.length === 0 || dst.type !== 'pod') return false;
  for (const own of dst.pod.ports)
    if (own.port === port && own.protocol === protocol)
      for (const name of names) if (name.name === own.name && name.protocol === protocol) return true;
  return false;
}

export interface Span {
  readonly first: number;
  readonly last: number;
}

const EVERY_PORT: readonly Span[] = [{ first: 0, last: 65_535 }];

/**
 * Ports of one protocol that rules speak of.
 *
 * @param named what names mean; undefined: they may mean any port
 */
export function readPorts(
  ports: readonly PortMatch[] | null,
  protocol: PortProtocol,
  named: NamedPorts | undefined,
): readonly Span[] {
  if (ports === null) return EVERY_PORT;
  return ports.flatMap((port) => {
    if (!('protocol' in port) || port.protocol !== protocol) return [];
    if ('first' in port) return [port];
    return named ? (named.get(nameKey(protocol, port.name)) ?? []) : EVERY_PORT;
  });
}

const none = new Uint16Array();

/** First and last of each, ascending and apart. */
export function rangesOf(spans: readonly Span[]): Uint16Array {
  if (spans.length === 0) return none;
  const merged: { first: number; last: number }[] = [];
  for (const { first, last } of [...spans].sort((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else merged.push({ first, last });
  }
  return Uint16Array.from(merged.flatMap(({ first, last }) => [first, last]));
}

function isIn(ranges: Uint16Array, port: number): boolean {
  let low = 0;
  let high = ranges.length >> 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[2 * middle + 1]! < port) low = middle + 1;
    else high = middle;
  }
  return 2 * low < ranges.length && ranges[2 * low]! <= port;
}
