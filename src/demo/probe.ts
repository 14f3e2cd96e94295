/** Makes an attempt by the source pod's stand-in, and collects what the kernels logged for it. */
import { createHash } from 'node:crypto';
import { HeddleError } from '../lib/errors.ts';
import { mapLimited } from '../lib/parallel.ts';
import { callSocket } from '../lib/unix-http.ts';
import type { ProbeRequest, ProbeResult } from '../podhost/probe/connect.ts';
import type { Attempt } from './attempts.ts';
import type { FlowEvent, FlowPage } from '../observe/flow-event.ts';
import type { Observation } from './judge.ts';

export interface ProbeDeps {
  /** Socket of a node's agent. */
  agentSocket(node: string): string;
  readonly nodes: readonly string[];
  /** Milliseconds after which a connection counts as not made. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Connections that are tried at the same time: enough to wait for many denials at once. */
const CONCURRENCY = 128;
/** Milliseconds for the kernels' last records to reach the agents. */
const SETTLE = 150;

type Raw = { attempt: Attempt; answer: ProbeResult };

async function tryOne(attempt: Attempt, deps: ProbeDeps): Promise<Raw> {
  const { source, host, port, protocol, family } = attempt;
  const body: ProbeRequest & { namespace: string; pod: string } = {
    namespace: source.namespace,
    pod: source.name,
    host,
    port,
    family,
    kind: protocol === 'UDP' ? 'udp' : 'tcp',
    timeoutMs: deps.timeoutMs,
  };
  const answer = await callSocket<ProbeResult>({
    socketPath: deps.agentSocket(source.node),
    method: 'POST',
    path: '/probe',
    body,
    timeoutMs: deps.timeoutMs + 10_000,
    signal: deps.signal,
  });
  return { attempt, answer };
}

async function flowsOf(deps: ProbeDeps, since: ReadonlyMap<string, number>): Promise<Map<string, FlowPage>> {
  const pages = await Promise.all(
    deps.nodes.map(async (node) => {
      const path = `/flows?since=${since.get(node) ?? 0}`;
      const page = await callSocket<FlowPage>({
        socketPath: deps.agentSocket(node),
        path,
        signal: deps.signal,
      });
      return [node, page] as const;
    }),
  );
  return new Map(pages);
}

/** A connection is told by source address, source port, protocol and a destination among the backends. */
function recordsOf(raw: Raw, events: ReadonlyMap<string, readonly FlowEvent[]>): readonly FlowEvent[] {
  const { attempt, answer } = raw;
  if (!answer.local) return [];
  const found = events.get(`${attempt.protocol} ${answer.local.address} ${answer.local.port}`) ?? [];
  const places = attempt.outside ? [{ address: attempt.host, port: attempt.port }] : attempt.backends;
  return found.filter(({ dst, dport }) =>
    places.some(({ address, port }) => address === dst && port === dport),
  );
}

/**
 * Every attempt with its observation.
 * @throws HeddleError `SocketCall` when an agent does not answer, `RecordsLost` when a kernel log overflowed.
 */
export async function observe(
  attempts: readonly Attempt[],
  deps: ProbeDeps,
  onProgress: (done: number) => void,
): Promise<{ attempt: Attempt; observation: Observation }[]> {
  const before = await flowsOf(deps, new Map());
  const since = new Map([...before].map(([node, page]) => [node, page.next]));
  let done = 0;
  // In an order without runs: a workload's denials would otherwise fill all lanes at once.
  const raws = await mapLimited(shuffled(attempts), CONCURRENCY, async (attempt) => {
    const raw = await tryOne(attempt, deps);
    onProgress(++done);
    return raw;
  });
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  const after = await flowsOf(deps, since);
  for (const [node, page] of after)
    if (page.lost > (before.get(node)?.lost ?? 0))
      throw new HeddleError(
        'RecordsLost',
        `the kernel log of ${node} lost records while the demo was probing`,
        {
          hint: 'the machine is overloaded; run again with less beside it',
        },
      );
  const events = Map.groupBy(
    [...after.values()].flatMap((page) => page.events),
    ({ protocol, src, sport }) => `${protocol} ${src} ${sport}`,
  );
  const observed = new Map(
    raws.map((raw) => {
      const { answer } = raw;
      const observation: Observation = {
        connected: answer.ok,
        error: answer.error,
        latencyUs: answer.latencyUs,
        responder: answer.responder,
        peerSeen: answer.peerSeen,
        events: recordsOf(raw, events),
      };
      return [raw.attempt, observation] as const;
    }),
  );
  return attempts.flatMap((attempt) => {
    const observation = observed.get(attempt);
    return observation ? [{ attempt, observation }] : [];
  });
}

/** The same order at every run, so that two runs can be compared. */
function shuffled(items: readonly Attempt[]): Attempt[] {
  const keyed = items.map((attempt) => {
    const text = `${attempt.from.key} ${attempt.to.key} ${attempt.host} ${attempt.port} ${attempt.family}`;
    return { attempt, key: createHash('sha1').update(text).digest('hex') };
  });
  return keyed.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map(({ attempt }) => attempt);
}
