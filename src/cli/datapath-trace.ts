/** `heddle datapath trace`: one packet through every decision, by the plans and, if asked, as the kernels record it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProbeResult } from '../datapath/backend.ts';
import { protocolNumber } from '../datapath/dump/source.ts';
import { type NodeViewJson, viewFromJson } from '../datapath/dump/wire.ts';
import { packetOf } from '../datapath/trace/ends.ts';
import type { Trace, TraceStep } from '../datapath/trace/result.ts';
import { trace } from '../datapath/trace/trace.ts';
import { HeddleError } from '../lib/errors.ts';
import { formatHostPort, type Family } from '../lib/ip.ts';
import type { FlowEvent, FlowPage } from '../observe/flow-event.ts';
import type { Protocol } from '../policy/world.ts';
import type { Agents } from './datapath-nodes.ts';

export interface TraceRequest {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly family: Family | undefined;
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
}

export interface TraceOutput {
  readonly trace: Trace;
  readonly probed: readonly (ProbeResult & { readonly node: string })[];
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
  return {
    output: { trace: traced, probed: await probe(agents, traced, views), live: null },
    aliases: (address) =>
      request.family === undefined
        ? (pods.find(({ addresses }) => addresses.includes(address))?.addresses ?? [address])
        : [address],
  };
}

/** At the node where the packet is first seen, where its backend can. */
async function probe(
  agents: Agents,
  { packet, steps }: Trace,
  views: ReadonlyMap<string, { state: { pods: ReadonlyMap<string, { addresses: readonly string[] }> } }>,
): Promise<TraceOutput['probed']> {
  const { protocol, src, sport, dst, dport } = packet;
  if (protocol === 'ICMP' || protocol === 'OTHER') return [];
  const at = steps[0]?.at ?? '';
  const from = [...(views.get(at)?.state.pods ?? [])].find(([, pod]) => pod.addresses.includes(src))?.[0];
  const body = { protocol: protocolNumber(protocol), src, sport, dst, dport, from };
  const answers = await agents.ask<ProbeResult | null>('/datapath/probe', body);
  return answers.flatMap(({ node, answer }) => (answer && node === at ? [{ node, ...answer }] : []));
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
}: FlowEvent): LiveEvent => ({
  node,
  time: new Date(time).toISOString(),
  verdict,
  direction,
  src: formatHostPort(src, sport),
  dst: formatHostPort(dst, dport),
  text: text ?? `rule ${rule}`,
});

const marks: Readonly<Record<TraceStep['verdict'], string>> = {
  pass: '  ',
  deny: '✗ ',
  drop: '✗ ',
  refuse: '✗ ',
};

export function traceText({ trace: traced, probed }: TraceOutput): string {
  const { packet, branches } = traced;
  const host = (address: string, port: number) => (port === 0 ? address : formatHostPort(address, port));
  const lines = [
    `${packet.protocol} ${host(packet.src, packet.sport)} → ${host(packet.dst, packet.dport)}: ${verdictWords[traced.verdict]}`,
    ...traced.steps.map(stepLine),
  ];
  for (const branch of branches) {
    const to = branch.name ?? 'outside';
    const share = branches.length > 1 ? `, ${Math.round(branch.share * 1000) / 10}% of new connections` : '';
    if (branches.length > 1 || branch.dst !== packet.dst || branch.dport !== packet.dport)
      lines.push('', `→ ${host(branch.dst, branch.dport)} ${to}${share}: ${verdictWords[branch.verdict]}`);
    lines.push(...branch.steps.map(stepLine));
  }
  for (const { node, verdict, dst, dport, steps } of probed)
    lines.push(
      '',
      `the loaded programs of ${node}: ${verdictWords[verdict]}, to ${host(dst, dport)}`,
      ...steps.map((step) => `  ${step}`),
    );
  return `${lines.join('\n')}\n`;
}

export const liveText = ({ time, node, verdict, direction, src, dst, text }: LiveEvent): string =>
  `${time}  ${node}  ${verdict} ${direction}  ${src} → ${dst}  ${text}\n`;

const verdictWords: Readonly<Record<Trace['verdict'], string>> = {
  allow: 'allowed',
  deny: 'denied',
  drop: 'dropped',
  refuse: 'refused',
  mixed: 'depends on the backend',
};

function stepLine({ at, stage, verdict, direction, text }: TraceStep): string {
  return `${marks[verdict]}${at.padEnd(10)} ${(direction ?? stage).padEnd(9)} ${text}`;
}
