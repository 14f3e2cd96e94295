/** One way of a packet, from the chosen destination to its end. */
import { contains, parseAddress, parseCidr } from '../../lib/ip.ts';
import { createNames, type KnownPod, type NodeView } from '../dump/source.ts';
import { type BackendAddress, type ServiceFrontend, SETTINGS_KEY } from '../plan/tables.ts';
import { routingOf } from '../routing.ts';
import { vtepMac } from '../vtep.ts';
import { type Judgement, judge } from './judge.ts';
import type { TraceBranch, TracePacket, TraceStep, TraceVerdict } from './result.ts';
import type { Origin } from './trace.ts';

export interface Way {
  readonly dst: string;
  readonly dport: number;
  readonly share: number;
  readonly frontend: ServiceFrontend | undefined;
  readonly backend: BackendAddress | undefined;
}

export function followTo(
  packet: TracePacket,
  way: Way,
  origin: Origin,
  views: ReadonlyMap<string, NodeView>,
): TraceBranch {
  const { view } = origin;
  const target = targetOf(way.dst, view);
  const seen = seenAs(packet, way, origin, target);
  const steps: TraceStep[] = [];
  const end = (verdict: TraceVerdict): TraceBranch => ({
    dst: way.dst,
    dport: way.dport,
    name: target.name,
    node: target.node,
    share: way.share,
    seenAs: seen,
    verdict,
    steps,
  });
  const add = (step: TraceStep): boolean => {
    steps.push(step);
    return step.verdict === 'pass';
  };

  if (origin.kind === 'pod' && !add(policyStep(view, 'egress', packet.src, way.dst, packet, way)))
    return end('deny');
  if (seen !== packet.src)
    add({
      at: view.node,
      stage: 'translate',
      verdict: 'pass',
      text: `${packet.src} becomes ${seen}, so that replies come back through ${view.node}`,
    });
  if (!add(routeStep(view, way.dst, target))) return end('drop');
  if (target.kind === 'nobody') {
    add({ at: target.node ?? '', stage: 'deliver', verdict: 'drop', text: nobodyText(way.dst, target) });
    return end('drop');
  }
  if (target.pod && target.node !== null) {
    const there = views.get(target.node);
    if (!there) {
      add({
        at: target.node,
        stage: 'policy',
        verdict: 'drop',
        text: `the agent of ${target.node} could not be asked: what it does is not known`,
      });
      return end('drop');
    }
    if (!there.state.pods.has(target.pod.pod)) {
      add({
        at: there.node,
        stage: 'deliver',
        verdict: 'drop',
        text: `${there.node} has not programmed pod ${target.pod.pod} (yet): its link carries nothing`,
      });
      return end('drop');
    }
    if (!add(policyStep(there, 'ingress', way.dst, seen, packet, way))) return end('deny');
    add({
      at: there.node,
      stage: 'deliver',
      verdict: 'pass',
      text: `pod ${target.pod.pod} gets it by link ${there.state.pods.get(target.pod.pod)?.interface ?? ''}`,
    });
  }
  add(replyStep(packet, way, origin, target, seen));
  return end('allow');
}

interface Target {
  /** `nobody`: of the range of `node`, and no pod has it. */
  readonly kind: 'pod' | 'node' | 'outside' | 'nobody';
  readonly name: string | null;
  readonly node: string | null;
  readonly pod: KnownPod | undefined;
}

function targetOf(dst: string, view: NodeView): Target {
  const names = createNames(view);
  const pod = names.pod(dst);
  if (pod) return { kind: 'pod', name: pod.pod, node: pod.node, pod };
  const node = names.node(dst);
  if (node !== undefined) return { kind: 'node', name: `node ${node}`, node, pod: undefined };
  if (settingsOf(view)?.nodeLocal?.includes(dst))
    return { kind: 'node', name: `node ${view.node}`, node: view.node, pod: undefined };
  const holder = holderOf(dst, view);
  if (holder !== undefined) return { kind: 'nobody', name: null, node: holder, pod: undefined };
  return { kind: 'outside', name: null, node: null, pod: undefined };
}

/** Node in whose range of pods it is. */
function holderOf(dst: string, view: NodeView): string | undefined {
  const isIn = (ranges: readonly string[]) =>
    ranges.some((range) => contains(parseCidr(range), parseAddress(dst)));
  if (isIn(settingsOf(view)?.nodePodCidrs ?? [])) return view.node;
  return [...view.state.routes.values()].find(({ podCidrs }) => isIn(podCidrs))?.node;
}

const nobodyText = (dst: string, { node }: Target): string =>
  `${dst} is in the range of ${node ?? ''}, and no pod has it`;

const settingsOf = ({ state }: NodeView) => state.settings.get(SETTINGS_KEY);

/** The client's address, where something must keep replies on the way through this node. */
function seenAs({ src }: TracePacket, way: Way, { kind, view }: Origin, target: Target): string {
  const settings = settingsOf(view);
  const own = settings?.nodeAddresses.find((address) => address.includes(':') === src.includes(':')) ?? src;
  if (kind === 'pod' && way.frontend && way.dst === src) return own;
  if (kind === 'pod' && target.kind === 'outside') {
    const inside = [
      ...(settings?.podCidrs ?? []),
      ...(settings?.serviceCidrs ?? []),
      ...(settings?.underlayCidrs ?? []),
    ];
    return inside.some((range) => contains(parseCidr(range), parseAddress(way.dst))) ? src : own;
  }
  const forwarded = way.frontend !== undefined && target.node !== view.node;
  return kind === 'outside' && forwarded && !isStraight(src, way, view) ? own : src;
}

/** The backend's node answers the client itself: only who is outside of the cluster. */
function isStraight(src: string, { frontend }: Way, view: NodeView): boolean {
  const names = createNames(view);
  return frontend?.forwarding === 'dsr' && !names.pod(src) && names.node(src) === undefined;
}

export function policyStep(
  view: NodeView,
  direction: 'ingress' | 'egress',
  pod: string,
  peer: string,
  { protocol }: TracePacket,
  { dport }: Pick<Way, 'dport'>,
): TraceStep {
  const { verdict, text, table, identity, rule, audit }: Judgement = judge(view, {
    direction,
    pod,
    peer,
    protocol,
    port: dport,
  });
  return {
    at: view.node,
    stage: 'policy',
    verdict: verdict === 'allow' ? 'pass' : 'deny',
    text,
    direction,
    table,
    identity,
    rule,
    ...(audit ? { audit } : {}),
  };
}

function routeStep(view: NodeView, dst: string, { kind, node, name }: Target): TraceStep {
  const step = (verdict: TraceStep['verdict'], text: string): TraceStep => ({
    at: view.node,
    stage: 'route',
    verdict,
    text,
  });
  if (kind === 'outside') return step('pass', `${dst} is outside: by the uplink of ${view.node}`);
  if (kind === 'nobody' && node === view.node) return step('pass', 'same node');
  if (node === view.node)
    return step('pass', kind === 'pod' ? 'same node: from link to link' : `${name} answers itself`);
  if (kind === 'node') return step('pass', `to ${name} over the underlay`);
  const remote = view.state.routes.get(node ?? '');
  const via = remote?.addresses[0];
  if (via === undefined) return step('drop', `${view.node} knows no way to node ${node} (yet)`);
  const { sends } = routingOf(view.state.settings.get(SETTINGS_KEY));
  if (sends === 'native') return step('pass', `by route over the underlay to node ${node}, ${via}`);
  const mac = sends === 'gre' ? '' : `, MAC ${vtepMac(via)}`;
  return step('pass', `by tunnel (${sends.toUpperCase()}) to node ${node}, ${via}${mac}`);
}

function replyStep(
  { src, dst, dport }: TracePacket,
  way: Way,
  { kind, view }: Origin,
  target: Target,
  seen: string,
): TraceStep {
  const words = [
    way.frontend ? `${view.node} gives ${way.dst} back as ${dst} port ${dport}` : '',
    seen !== src ? `${view.node} gives ${seen} back as ${src}` : '',
    kind === 'outside' && target.node !== view.node && isStraight(src, way, view)
      ? 'the backend’s node answers the client itself'
      : '',
  ].filter(Boolean);
  return {
    at: view.node,
    stage: 'reply',
    verdict: 'pass',
    text: `replies of the connection pass${words.length > 0 ? `: ${words.join('; ')}` : ''}`,
  };
}
