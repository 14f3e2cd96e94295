/**
 * The traced packet, run through the loaded programs: at the link of its sender, then as those programs say, at the
 * tunnel of the next node. Where no pod of the cluster sends it, or the first node cannot say, it is asked of the last
 * node on each way that the plan knows.
 */
import { protocolNumbers } from '../../lib/protocols.ts';
import type { ProbePacket, ProbeResult } from '../backend.ts';
import { createNames, hex, type NodeView } from '../dump/source.ts';
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
  const sent = { ...packet, protocol };
  const ways = (await fromPod(traced, origin, sent, asker)) ?? (await fromPlan(traced, origin, sent, asker));
  const differences = ways.flatMap((way) => compareWay(traced, way));
  // Ways may share what differs.
  const different = new Map(differences.map((each) => [JSON.stringify(each), each]));
  return { byPlan: asker.byPlan(), ways, differences: [...different.values()] };
}

type Sent = Omit<TracePacket, 'protocol'> & { readonly protocol: number };

type Asker = ReturnType<typeof createAsker>;

function createAsker(views: Views, ask: Ask) {
  const without = new Map<string, string>();
  const hop = (node: string, result: ProbeResult): DryHop => {
    const textOf = (rule: number) =>
      rule === 0 ? null : (views.get(node)?.state.rules.get(String(rule))?.text ?? `rule ${hex(rule)}`);
    return { node, ...result, egress: textOf(result.egressRule), ingress: textOf(result.ingressRule) };
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

async function fromPod(
  traced: Trace,
  { kind, view, pod }: Origin,
  packet: Sent,
  asker: Asker,
): Promise<DryWay[] | undefined> {
  // A pod that its node has not programmed has no link to ask at.
  if (kind !== 'pod' || !pod || !view.state.pods.has(pod.pod)) return undefined;
  const ends = Math.max(1, traced.branches.length);
  const first = await asker.ask(view.node, { ...packet, origin: 'pod', from: pod.pod, ends });
  return first && Promise.all(first.map((hop) => goOn(traced, packet, hop, asker)));
}

async function goOn(traced: Trace, packet: Sent, first: DryHop, asker: Asker): Promise<DryWay> {
  const { src, sport, dst, dport, next, to, verdict } = first;
  // What another node translates is asked of nobody: that is at its uplink.
  if (next === 'stack')
    return { hops: [first], verdict, complete: (entryOf(traced) ?? first.node) === first.node };
  if (next !== 'tunnel') return { hops: [first], verdict, complete: true };
  const node = asker.nodeAt(to);
  const arrives = { protocol: packet.protocol, src, sport, dst, dport, origin: 'overlay' } as const;
  const [second] = (node !== undefined && (await asker.ask(node, arrives))) || [];
  return second
    ? { hops: [first, second], verdict: second.verdict, complete: true }
    : { hops: [first], verdict, complete: false };
}

async function fromPlan(traced: Trace, origin: Origin, packet: Sent, asker: Asker): Promise<DryWay[]> {
  const names = createNames(origin.view);
  const entry = entryOf(traced) ?? origin.view.node;
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
