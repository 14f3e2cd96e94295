/** Connections that the kernel's tracking translates: given to a backend with tables of its own, and taken from one. */
import { contains, parseAddress, tryParseCidr } from '../lib/ip.ts';
import type { Backend, NatConnection } from './backend.ts';
import { type PlanState, SETTINGS_KEY } from './plan/tables.ts';
import { asksForService, type DeleteFlows, type ListFlows, type TrackedFlow } from './tracked-flows.ts';

export interface HandoverDeps {
  readonly listFlows?: ListFlows | undefined;
  /** Makes tracked connections in the node's namespace. */
  readonly addFlows?: AddFlows | undefined;
  readonly deleteFlows?: DeleteFlows | undefined;
}

export type AddFlows = (connections: readonly (NatConnection & { timeout: number })[]) => unknown;

/** Of IPS_*. */
const SEEN_REPLY = 2;
const TCP = 6;
const UDP = 17;
const SCTP = 132;
const PROTOCOLS: ReadonlySet<number> = new Set([TCP, UDP, SCTP]);
const OVER: ReadonlySet<string> = new Set(['time-wait', 'close', 'last-ack']);
/** Seconds: of streams an hour, and a packet gives each what its state is due. */
const TIMEOUT = { stream: 3600, datagrams: 120, unanswered: 120 } as const;

/** Translated connections to services, and of pods of this node: others may translate in its namespace too. */
function isOurs(state: PlanState): (flow: TrackedFlow) => boolean {
  const ranges = state.settings.get(SETTINGS_KEY)?.nodePodCidrs ?? [];
  const pods = ranges.flatMap((cidr) => tryParseCidr(cidr) ?? []);
  return ({ original, reply }) => {
    const { protocol, src, srcPort, dst, dstPort } = original;
    const isTo = reply.src !== dst || reply.srcPort !== dstPort;
    const isFrom = reply.dst !== src || reply.dstPort !== srcPort;
    if (!PROTOCOLS.has(protocol) || !(isTo || isFrom)) return false;
    if (asksForService(state, original)) return true;
    const address = parseAddress(src);
    return pods.some((range) => range.family === address.family && contains(range, address));
  };
}

export const handedOver = (connections: ReturnType<ListFlows>, state: PlanState): NatConnection[] =>
  connections
    .filter(({ tcpState }) => !OVER.has(tcpState ?? ''))
    .filter(isOurs(state))
    .map(({ original, reply, status }) => ({ original, reply, answered: (status & SEEN_REPLY) !== 0 }));

const timeoutOf = ({ original: { protocol }, answered }: NatConnection): number =>
  !answered ? TIMEOUT.unanswered : protocol === UDP ? TIMEOUT.datagrams : TIMEOUT.stream;

/** Nothing where the kernel's table cannot be read and written. */
export function trackedHandover({
  listFlows,
  addFlows,
  deleteFlows,
}: HandoverDeps): Pick<Backend, 'handOver' | 'takeOver' | 'forget'> {
  if (!listFlows || !addFlows || !deleteFlows) return {};
  return {
    handOver: async (state) => handedOver(listFlows(), state),
    takeOver: async (connections) =>
      void addFlows(connections.map((each) => ({ ...each, timeout: timeoutOf(each) }))),
    forget: async (state) => void deleteFlows(isOurs(state)),
  };
}
