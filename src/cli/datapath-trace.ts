/**
 * `heddle datapath trace`: one packet through every decision, by the plans, by the loaded programs where they can be
 * asked and, if wanted, as the kernels record it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProbeResult } from '../datapath/backend.ts';
import { type NodeViewJson, viewFromJson } from '../datapath/dump/wire.ts';
import { packetOf } from '../datapath/trace/ends.ts';
import { dryRun } from '../datapath/trace/dry.ts';
import type { Dry, Trace } from '../datapath/trace/result.ts';
import { trace } from '../datapath/trace/trace.ts';
import { HeddleError } from '../lib/errors.ts';
import { type Family, formatHostPort } from '../lib/ip.ts';
import type { FlowAudit, FlowEvent, FlowPage } from '../observe/flow-event.ts';
import type { Protocol } from '../policy/world.ts';
import type { Agents } from './datapath-nodes.ts';

export interface TraceRequest {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly family: Family | undefined;
  /** Pod at whose link it is seen first; undefined: of who has the address `from`. */
  readonly sender?: string | undefined;
  /** Milliseconds to watch the kernels' records; undefined: not at all. */
  readonly liveMs: number | undefined;
}

export interface LiveEvent {
  readonly node: string;
  readonly time: string;
  readonly verdict: 'allow' | 'deny';
  readonly direction: 'ingress' | 'egress';
  readonly src: string;
  readonly dst: string;
  readonly text: string;
  /** What would have decided if audited policies were enforced, where that is another rule. */
  readonly audit?: FlowAudit;
}

export interface TraceOutput {
  readonly trace: Trace;
  readonly dry: Dry;
  readonly live: readonly LiveEvent[] | null;
}

export interface Traced {
  readonly output: TraceOutput;
  /** All addresses of the pod that has this one, of the family asked for. */
  aliases(address: string): readonly string[];
}

/** @throws HeddleError `BadPacket`, `SocketCall` */
export async function dryTrace(agents: Agents, request: TraceRequest): Promise<Traced> {
  const answers = await agents.ask<NodeViewJson>('/datapath/plan');
  const views = new Map(answers.map(({ node, answer }) => [node, viewFromJson(answer)] as const));
  const packet = packetOf(request, [...views.values()]);
  const traced = trace(packet, views);
  if (!traced)
    throw new HeddleError('BadPacket', `the agent of the node that ${packet.src} is on did not answer`, {
      hint: '"heddle status" shows it',
    });
  const pods = [...views.values()][0]?.pods ?? [];
  const dry = await dryRun(traced, views, (node, probe) =>
    agents.askOne<readonly ProbeResult[] | null>(node, '/datapath/probe', probe),
  );
  return {
    output: { trace: traced, dry, live: null },
    aliases: (address) =>
      request.family === undefined
        ? (pods.find(({ addresses }) => addresses.includes(address))?.addresses ?? [address])
        : [address],
  };
}

/** Records of the kernels that are of this packet's connection, as they come. */
export async function watch(
  agents: Agents,
  { output: { trace: traced }, aliases }: Traced,
  ms: number,
  tell: (event: LiveEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const next = new Map<string, number>();
  for (const { node, answer } of await agents.ask<FlowPage>('/flows?since=0&limit=1000000'))
    next.set(node, answer.next);
  for (const end = performance.now() + ms; performance.now() < end && !signal.aborted; ) {
    await sleep(200, undefined, { signal }).catch(() => {});
    for (const [node, since] of next) {
      // An agent that restarts is back in a moment.
      const page = await agents.askOne<FlowPage>(node, `/flows?since=${since}`).catch(() => undefined);
      if (!page) continue;
      next.set(node, page.next);
      for (const event of page.events) if (isOf(event, traced, aliases)) tell(liveEvent(event));
    }
  }
}

function isOf(event: FlowEvent, { packet, branches }: Trace, aliases: Traced['aliases']): boolean {
  if (event.protocol !== packet.protocol || !aliases(packet.src).includes(event.src)) return false;
  if (packet.sport !== 0 && event.sport !== packet.sport) return false;
  return [packet, ...branches].some(
    ({ dst, dport }) => event.dport === dport && aliases(dst).includes(event.dst),
  );
}

const liveEvent = ({
  node,
  time,
  verdict,
  direction,
  src,
  sport,
  dst,
  dport,
  text,
  rule,
  audit,
}: FlowEvent): LiveEvent => ({
  node,
  time: new Date(time).toISOString(),
  verdict,
  direction,
  src: formatHostPort(src, sport),
  dst: formatHostPort(dst, dport),
  text: text ?? `rule ${rule}`,
  ...(audit ? { audit } : {}),
});

export function liveText({ time, node, verdict, direction, src, dst, text, audit }: LiveEvent): string {
  const audited = audit ? `; audited: ${audit.verdict} by ${audit.text ?? `rule ${audit.rule}`}` : '';
  return `${time}  ${node}  ${verdict} ${direction}  ${src} → ${dst}  ${text}${audited}\n`;
}
