/**
 * Follows one packet, the first of its connection, through the plans of the nodes on its way: where it comes from,
 * what its address is translated to, then each way that it may take. Pure: nothing is sent and no kernel is asked.
 */
import { contains, parseAddress, parseCidr } from '../../lib/ip.ts';
import { shareOf } from '../dump/services.ts';
import { createNames, type KnownPod, type NodeView } from '../dump/source.ts';
import {
  type BackendAddress,
  frontendKey,
  type ServiceFrontend,
  SETTINGS_KEY,
  type Settings,
} from '../plan/tables.ts';
import { followTo, policyStep, type Way } from './branch.ts';
import type { Trace, TracePacket, TraceStep, TraceVerdict } from './result.ts';

export interface Origin {
  readonly kind: 'pod' | 'node' | 'outside';
  /** Node where the packet is first seen. */
  readonly view: NodeView;
  readonly pod: KnownPod | undefined;
}

/**
 * @param views of every node that could be asked, by name
 * @returns undefined where no node on the packet's way could be asked
 */
export function trace(packet: TracePacket, views: ReadonlyMap<string, NodeView>): Trace | undefined {
  const origin = originOf(packet, views);
  if (!origin) return undefined;
  const first = sourceStep(packet, origin);
  if (first.verdict !== 'pass') return ended(packet, [first], first.verdict);
  const relay = relayOf(packet, origin, views);
  const before = relay ? [first, ...stepsToNode(packet, origin)] : [first];
  const stopped = before.find(({ verdict }) => verdict !== 'pass');
  if (stopped) return ended(packet, before, stopped.verdict as TraceVerdict);
  const at: Origin = relay ? { kind: 'outside', view: relay, pod: undefined } : origin;
  const choice = translate(packet, at.view, isInside(origin, relay));
  const steps = [...before, choice.step];
  if (choice.step.verdict !== 'pass') return ended(packet, steps, choice.step.verdict);
  const branches = choice.ways.map((way) => followTo(packet, way, at, views));
  const verdicts = new Set(branches.map(({ verdict }) => verdict));
  return { packet, verdict: verdicts.size === 1 ? [...verdicts][0]! : 'mixed', steps, branches };
}

/** Other nodes are clients inside for eBPF, and outside for those who tell them by where packets come in. */
const isInside = ({ kind }: Origin, relay: NodeView | undefined): boolean =>
  relay ? kind === 'pod' || relay.backend === 'ebpf' : kind !== 'outside';

const ended = (packet: TracePacket, steps: readonly TraceStep[], verdict: TraceVerdict): Trace => ({
  packet,
  verdict,
  steps,
  branches: [],
});

export function originOf(
  { src, dst, sender }: TracePacket,
  views: ReadonlyMap<string, NodeView>,
): Origin | undefined {
  const [any] = views.values();
  if (!any) return undefined;
  const names = createNames(any);
  const pod = sender === undefined ? names.pod(src) : any.pods.find((each) => each.pod === sender);
  if (pod) {
    const view = views.get(pod.node);
    return view && { kind: 'pod', view, pod };
  }
  const node = names.node(src);
  if (node !== undefined) {
    const view = views.get(node);
    return view && { kind: 'node', view, pod: undefined };
  }
  return { kind: 'outside', view: entryNode(dst, views) ?? any, pod: undefined };
}

/** Of what comes from outside: the node whose address is asked for, or that has the pod. */
function entryNode(dst: string, views: ReadonlyMap<string, NodeView>): NodeView | undefined {
  const all = [...views.values()];
  const settings = (view: NodeView) => view.state.settings.get(SETTINGS_KEY);
  const own = all.find((view) => {
    const { nodeAddresses = [], nodePortAddresses = [] } = settings(view) ?? {};
    return [...nodeAddresses, ...nodePortAddresses].includes(dst);
  });
  if (own) return own;
  const [any] = all;
  const pod = any && createNames(any).pod(dst);
  return pod && views.get(pod.node);
}

/** Another node whose own address is asked for, and that leads on from there (a node port). */
function relayOf(
  packet: TracePacket,
  { kind, view }: Origin,
  views: ReadonlyMap<string, NodeView>,
): NodeView | undefined {
  if (kind === 'outside') return undefined;
  const node = createNames(view).node(packet.dst);
  const there = node === undefined || node === view.node ? undefined : views.get(node);
  return there && frontendOf(packet, there) ? there : undefined;
}

function stepsToNode(packet: TracePacket, { kind, view }: Origin): TraceStep[] {
  const text = `to node ${createNames(view).node(packet.dst) ?? ''} over the underlay`;
  return [
    ...(kind === 'pod' ? [policyStep(view, 'egress', packet.src, packet.dst, packet, packet)] : []),
    { at: view.node, stage: 'route', verdict: 'pass', text },
  ];
}

const frontendOf = (
  { dst, protocol, dport }: TracePacket,
  { state }: NodeView,
): ServiceFrontend | undefined => state.services.get(frontendKey({ address: dst, protocol, port: dport }));

function sourceStep({ src }: TracePacket, { kind, view, pod }: Origin): TraceStep {
  const step = (verdict: TraceStep['verdict'], text: string): TraceStep => ({
    at: view.node,
    stage: 'source',
    verdict,
    text,
  });
  if (kind === 'node') return step('pass', `sent by node ${view.node} itself`);
  if (kind === 'outside' || !pod)
    return step('pass', `${src} is outside of the cluster; it comes in at ${view.node}`);
  const local = view.state.pods.get(pod.pod);
  if (!local)
    return step('drop', `${view.node} has not programmed pod ${pod.pod} (yet): its link carries nothing`);
  if (!local.addresses.includes(src))
    return step(
      'drop',
      `${src} is no address of pod ${pod.pod} on ${view.node}: its link carries its own only`,
    );
  return step('pass', `pod ${pod.pod} sends by link ${local.interface}; the address is its own`);
}

interface Choice {
  readonly step: TraceStep;
  readonly ways: readonly Way[];
}

/** @param inside whether the client is one of the cluster, as this node sees it */
function translate(packet: TracePacket, view: NodeView, inside: boolean): Choice {
  const { dst, dport } = packet;
  const step = (verdict: TraceStep['verdict'], text: string): TraceStep => ({
    at: view.node,
    stage: 'service',
    verdict,
    text,
  });
  const frontend = frontendOf(packet, view);
  if (!frontend) {
    if (isIn(dst, view.state.settings.get(SETTINGS_KEY)?.serviceCidrs))
      return {
        step: step('refuse', `${dst} is a service address that serves nothing on this port`),
        ways: [],
      };
    return {
      step: step('pass', 'no service address: not translated'),
      ways: [{ dst, dport, share: 1, frontend: undefined, backend: undefined }],
    };
  }
  if (!inside && frontend.kind === 'ClusterIP' && view.backend === 'ebpf')
    return { step: step('drop', `${title(frontend)}, which is not for clients outside`), ways: [] };
  const { sourceRanges } = frontend;
  if (!inside && sourceRanges && !isIn(packet.src, sourceRanges))
    return {
      step: step('drop', `${title(frontend)} admits ${sourceRanges.join(', ') || 'nobody'} only`),
      ways: [],
    };
  const backends = inside ? frontend.backends : (frontend.externalBackends ?? frontend.backends);
  if (backends.length === 0)
    return { step: step(frontend.whenEmpty, `${title(frontend)} has no backend for this client`), ways: [] };
  return {
    step: step('pass', `${title(frontend)}: ${choiceWords(frontend, backends)}`),
    ways: backends.map((backend) => ({
      dst: backend.address,
      dport: backend.port,
      share: shareOf(backend, backends),
      frontend,
      backend,
    })),
  };
}

const title = (frontend: ServiceFrontend): string =>
  `${frontend.address} ${frontend.protocol} ${frontend.port} is ${frontend.kind} of service ${frontend.service}`;

function choiceWords(
  { algorithm, affinitySeconds }: ServiceFrontend,
  backends: readonly BackendAddress[],
): string {
  const drains = backends.filter(({ weight }) => weight === 0).length;
  return [
    `${algorithm} over ${backends.length} backend${backends.length === 1 ? '' : 's'}`,
    ...(drains > 0 ? [`${drains} of them draining`] : []),
    ...(affinitySeconds === undefined ? [] : [`one client stays at one backend for ${affinitySeconds} s`]),
  ].join(', ');
}

function isIn(text: string, ranges: Settings['serviceCidrs'] | undefined): boolean {
  const address = parseAddress(text);
  return (ranges ?? []).some((range) => contains(parseCidr(range), address));
}
