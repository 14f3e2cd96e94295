/**
 * The traced packet, run through the loaded programs: at the link of its sender or the uplink by which it comes in, then
 * where those programs send it. What a node sends itself, and what the first node cannot say, is asked of the last node
 * on each way that the plan knows.
 */
import { protocolNumbers } from '../../lib/protocols.ts';
import type { ProbePacket, ProbeResult } from '../backend.ts';
import { createNames, hex, type NodeView } from '../dump/source.ts';
import { decidedBy } from '../plan/pairs.ts';
import { vtepMac } from '../vtep.ts';
import { compareWay, entryOf } from './compare.ts';
import type { Dry, DryHop, DryWay, Trace, TraceBranch, TracePacket } from './result.ts';
import { type Origin, originOf } from './trace.ts';

/** Null: the node's data path cannot run a packet. @throws HeddleError */
export type Ask = (node: string, packet: ProbePacket) => Promise<readonly ProbeResult[] | null>;

type Views = ReadonlyMap<string, NodeView>;

/** @throws HeddleError what `ask` throws */
export async function dryRun(traced: Trace, views: Views, ask: Ask): Promise<Dry> {
  const { packet } = traced;
  const protocol = protocolNumber(packet);
  const origin = originOf(packet, views);
  if (protocol === undefined || !origin) return { byPlan: [], ways: [], differences: [] };
  const asker = createAsker(views, ask);
  const trip: Trip = { traced, origin, entry: entryOf(traced), packet: { ...packet, protocol }, asker };
  const ways = (await fromSender(trip)) ?? (await fromPlan(trip));
  const differences = ways.flatMap((way) => compareWay(traced, way));
  // Ways may share what differs.
  const different = new Map(differences.map((each) => [JSON.stringify(each), each]));
  return { byPlan: asker.byPlan(), ways, differences: [...different.values()] };
}

interface Trip {
  readonly traced: Trace;
  readonly origin: Origin;
  /** Node that translates it, or would. */
  readonly entry: string | undefined;
  readonly packet: Sent;
  readonly asker: Asker;
}

type Sent = Omit<TracePacket, 'protocol'> & { readonly protocol: number };

type Asker = ReturnType<typeof createAsker>;

function createAsker(views: Views, ask: Ask) {
  const without = new Map<string, string>();
  const hop = (node: string, result: ProbeResult): DryHop => {
    const ruleOf = (rule: number) => views.get(node)?.state.rules.get(String(rule));
    const textOf = (rule: number) => (rule === 0 ? null : (ruleOf(rule)?.text ?? `rule ${hex(rule)}`));
    const egress = decidedBy(result.egressRule, ruleOf);
    const ingress = decidedBy(result.ingressRule, ruleOf);
    return {
      node,
      ...result,
      egressRule: egress.rule,
      ingressRule: ingress.rule,
      egress: textOf(result.egressRule),
      ingress: textOf(result.ingressRule),
      ...(egress.audit ? { egressAudit: egress.audit.rule } : {}),
      ...(ingress.audit ? { ingressAudit: ingress.audit.rule } : {}),
    };
  };

  return {
    /** Undefined where the node cannot say. */
    async ask(node: string, packet: ProbePacket): Promise<DryHop[] | undefined> {
      const view = views.get(node);
      if (!view) return undefined;
      const results = await ask(node, packet);
      if (results) return results.map((result) => hop(node, result));
      without.set(node, view.backend);
      return undefined;
    },
    /** By the end of its tunnel. */
    nodeAt(mac: string | undefined): string | undefined {
      const [any] = views.values();
      return any?.nodes.find(({ addresses }) => addresses[0] !== undefined && vtepMac(addresses[0]) === mac)
        ?.name;
    },
    byPlan: () => [...without].map(([node, backend]) => ({ node, backend })),
  };
}

/** Undefined where nobody can say. */
async function fromSender(trip: Trip): Promise<DryWay[] | undefined> {
  const { origin, entry, packet, asker, traced } = trip;
  const { kind, view, pod } = origin;
  const ends = Math.max(1, traced.branches.length);
  // What a node says itself, its sockets' hooks translate; and a pod that it has not programmed has no link.
  if (kind === 'node' && (entry ?? view.node) === view.node) return undefined;
  if (kind === 'pod' && !(pod && view.state.pods.has(pod.pod))) return undefined;
  const node = kind === 'node' ? (entry ?? view.node) : view.node;
  const start =
    kind === 'pod' ? ({ origin: 'pod', from: pod?.pod } as const) : ({ origin: 'uplink' } as const);
  const first = await asker.ask(node, { ...packet, ...start, ends });
  return first && (await Promise.all(first.map((hop) => goOn(trip, [hop])))).flat();
}

/** Where the last program that was asked sends it. */
async function goOn(trip: Trip, hops: readonly DryHop[]): Promise<DryWay[]> {
  const { origin, entry, packet, asker, traced } = trip;
  const last = hops.at(-1)!;
  const { node, next, verdict, src, sport, dst, dport, program, to } = last;
  const end = (complete: boolean): DryWay[] => [{ hops, verdict, complete }];
  const ask = async (at: string | undefined, more: Pick<ProbePacket, 'origin' | 'ends'>) => {
    const answers =
      at === undefined
        ? undefined
        : await asker.ask(at, { protocol: packet.protocol, src, sport, dst, dport, ...more });
    if (!answers) return end(false);
    return (await Promise.all(answers.map((hop) => goOn(trip, [...hops, hop])))).flat();
  };
  if (next === 'tunnel') return ask(asker.nodeAt(to), { origin: 'overlay' });
  if (next !== 'stack') return end(true);
  // A node port of another node: by the underlay, into its uplink.
  if (program === 'from_pod')
    return entry === undefined || entry === node
      ? end(true)
      : ask(entry, { origin: 'uplink', ends: Math.max(1, traced.branches.length) });
  const pod = createNames(origin.view).pod(dst);
  if (pod) return ask(pod.node, { origin: pod.node === node ? 'outside' : 'overlay' });
  return end(createNames(origin.view).node(dst) === node);
}

/** At the last node on each way. */
async function fromPlan({
  traced,
  origin,
  packet,
  asker,
  entry = origin.view.node,
}: Trip): Promise<DryWay[]> {
  const names = createNames(origin.view);
  const here = origin.kind === 'node' && entry === origin.view.node ? 'node' : 'outside';
  const last = async (branch: TraceBranch): Promise<DryWay[]> => {
    const { dst, dport, node, seenAs: src, steps } = branch;
    const isStopped = steps.some(({ direction, verdict }) => direction !== 'ingress' && verdict !== 'pass');
    if (node === null || !names.pod(dst) || isStopped) return [];
    const { protocol, sport } = packet;
    const arrives = { protocol, src, sport, dst, dport, origin: node === entry ? here : 'overlay' } as const;
    const hops = await asker.ask(node, arrives);
    return (hops ?? []).map((hop) => ({ hops: [hop], verdict: hop.verdict, complete: true }));
  };
  return (await Promise.all(traced.branches.map(last))).flat();
}

function protocolNumber({ protocol, src }: TracePacket): number | undefined {
  if (protocol === 'ICMP') return src.includes(':') ? 58 : 1;
  return protocol === 'OTHER' ? undefined : protocolNumbers[protocol];
}
