/** Connections that the kernel's tracking translates: given to a backend with tables of its own, and taken from one. */
import type { Backend, NatConnection } from './backend.ts';
import type { ListFlows } from './tracked-flows.ts';

export interface HandoverDeps {
  readonly listFlows?: ListFlows | undefined;
  /** Makes tracked connections in the node's namespace. */
  readonly addFlows?: AddFlows | undefined;
}

export type AddFlows = (connections: readonly (NatConnection & { timeout: number })[]) => unknown;

/** IPS_* */
const STATUS = { answered: 2, translated: 16 | 32 } as const;
const TCP = 6;
const UDP = 17;
const SCTP = 132;
const OVER: ReadonlySet<string> = new Set(['time-wait', 'close', 'last-ack']);
/** Seconds: of streams an hour, and a packet gives each what its state is due. */
const TIMEOUT = { stream: 3600, datagrams: 120, unanswered: 30 } as const;

export function handedOver(connections: ReturnType<ListFlows>): NatConnection[] {
  return connections
    .filter(
      ({ status, original: { protocol }, tcpState }) =>
        (status & STATUS.translated) !== 0 &&
        (protocol === TCP || protocol === UDP || protocol === SCTP) &&
        !OVER.has(tcpState ?? ''),
    )
    .map(({ original, reply, status }) => ({ original, reply, answered: (status & STATUS.answered) !== 0 }));
}

const timeoutOf = ({ original: { protocol }, answered }: NatConnection): number =>
  !answered ? TIMEOUT.unanswered : protocol === UDP ? TIMEOUT.datagrams : TIMEOUT.stream;

/** Nothing where the kernel's table cannot be read and written. */
export function trackedHandover({
  listFlows,
  addFlows,
}: HandoverDeps): Pick<Backend, 'handOver' | 'takeOver'> {
  if (!listFlows || !addFlows) return {};
  return {
    handOver: async () => handedOver(listFlows()),
    takeOver: async (connections) =>
      void addFlows(connections.map((each) => ({ ...each, timeout: timeoutOf(each) }))),
  };
}
