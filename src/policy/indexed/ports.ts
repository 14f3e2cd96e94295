/** The ports of a rule, made ready to ask: numbers by search, one by one only what the destination alone can tell. */
import { portsMatch } from '../decide.ts';
import type { PortMatch, Rule } from '../model.ts';
import type { ResolvedFlow } from '../scene.ts';
import type { PortProtocol } from '../world.ts';

export function createPortMatcher(rule: Rule): (flow: ResolvedFlow) => boolean {
  const { ports, sourcePorts } = rule;
  if (sourcePorts) return (flow) => portsMatch(rule, flow);
  if (ports === null) return () => true;
  const [tcp, udp, sctp] = (['TCP', 'UDP', 'SCTP'] as const).map((protocol) => rangesOf(ports, protocol));
  const others = ports.filter((port) => !('first' in port));
  const rest = others.length > 0 ? { ports: others } : undefined;
  return (flow) => {
    const { protocol, port } = flow;
    const ranges =
      protocol === 'TCP' ? tcp : protocol === 'UDP' ? udp : protocol === 'SCTP' ? sctp : undefined;
    if (ranges && port !== undefined && isIn(ranges, port)) return true;
    return rest !== undefined && portsMatch(rest, flow);
  };
}

const none = new Uint16Array();

/** First and last of each, ascending and apart. */
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
  let low = 0;
  let high = ranges.length >> 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[2 * middle + 1]! < port) low = middle + 1;
    else high = middle;
  }
  return 2 * low < ranges.length && ranges[2 * low]! <= port;
}
