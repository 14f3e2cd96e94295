/**
 * A second reading of NetworkPolicy v1, written from the API reference alone: it shares no code with the engine, not
 * even for addresses.
 */
import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import type { NetworkPolicy } from '../api/types.ts';
import { createDecider } from './decide.ts';
import type { Side } from './decision.ts';
import { flowsIn, worlds } from './testing/arbitraries.ts';
import type { Flow, FlowEnd, World, WorldPod } from './world.ts';

type Spec = NonNullable<NetworkPolicy['spec']>;
type Rule = { peers: Peer[]; ports: Port[] };
type Peer = NonNullable<NonNullable<Spec['ingress']>[number]['from']>[number];
type Port = NonNullable<NonNullable<Spec['ingress']>[number]['ports']>[number];
type Selector = NonNullable<Peer['podSelector']>;
interface Who {
  pod?: WorldPod;
  node?: string;
  ip: string;
}

function select(selector: Selector, labels: Record<string, string>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}))
    if (labels[key] !== value) return false;
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const has = key in labels;
    const listed = has && (values ?? []).includes(labels[key]!);
    if (operator === 'In' && !listed) return false;
    if (operator === 'NotIn' && listed) return false;
    if (operator === 'Exists' && !has) return false;
    if (operator === 'DoesNotExist' && has) return false;
  }
  return true;
}

function inBlock(ip: string, cidr: string): boolean {
  // BlockList takes IPv4 for a part of ::/0, as mapped addresses.
  if (ip.includes(':') !== cidr.includes(':')) return false;
  const list = new BlockList();
  const [network, length] = cidr.split('/');
  list.addSubnet(network!, Number(length), network!.includes(':') ? 'ipv6' : 'ipv4');
  return list.check(ip, ip.includes(':') ? 'ipv6' : 'ipv4');
}

function who(world: World, end: FlowEnd, family: number): Who {
  const right = (ip: string) => ip.includes(':') === (family === 6);
  if ('pod' in end) {
    const pod = world.pods.find((p) => `${p.namespace}/${p.name}` === end.pod)!;
    if (!pod.hostNetwork) return { pod, ip: pod.addresses.find(right)! };
    return { node: pod.node, ip: world.nodes.find((n) => n.name === pod.node)!.addresses.find(right)! };
  }
  const pod = world.pods.find((p) => !p.hostNetwork && p.addresses.includes(end.address));
  const node = world.nodes.find((n) => n.addresses.includes(end.address));
  return { pod, node: node?.name, ip: end.address };
}

function peerHolds(world: World, policy: NetworkPolicy, peer: Peer, other: Who): boolean {
  if (peer.ipBlock) {
    const { cidr, except } = peer.ipBlock;
    return inBlock(other.ip, cidr) && !(except ?? []).some((e) => inBlock(other.ip, e));
  }
  if (!other.pod) return false;
  const { namespace } = other.pod;
  const labels = {
    ...world.namespaces.find((n) => n.name === namespace)?.labels,
    'kubernetes.io/metadata.name': namespace,
  };
  if (
    peer.namespaceSelector ? !select(peer.namespaceSelector, labels) : namespace !== policy.metadata.namespace
  )
    return false;
  return select(peer.podSelector ?? {}, other.pod.labels);
}

function portHolds(port: Port, flow: Flow, destination: Who): boolean {
  const protocol = port.protocol ?? 'TCP';
  if (flow.protocol !== protocol) return false;
  if (port.port === undefined) return true;
  if (typeof port.port === 'string')
    return (destination.pod?.ports ?? []).some(
      (p) => p.name === port.port && p.protocol === protocol && p.port === flow.port,
    );
  return flow.port! >= port.port && flow.port! <= (port.endPort ?? port.port);
}

function policyTypes(spec: Spec): readonly string[] {
  if (spec.policyTypes && spec.policyTypes.length > 0) return spec.policyTypes;
  return spec.egress && spec.egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
}

function ruleList(spec: Spec, ingress: boolean): Rule[] {
  if (ingress) return (spec.ingress ?? []).map((r) => ({ peers: r.from ?? [], ports: r.ports ?? [] }));
  return (spec.egress ?? []).map((r) => ({ peers: r.to ?? [], ports: r.ports ?? [] }));
}

/** Undefined where nothing is enforced, else the policies that isolate and the rules that allow, in deciding order. */
function read(
  world: World,
  flow: Flow,
  ingress: boolean,
): undefined | { isolating: string[]; rules: string[] } {
  const source = who(world, flow.src, flow.family!);
  const destination = who(world, flow.dst, flow.family!);
  const [pod, other] = ingress ? [destination.pod, source] : [source.pod, destination];
  if (!pod || other.pod === pod) return undefined;
  if (other.node === pod.node || world.nodeLocal!.includes(other.ip)) return undefined;
  const isolating: string[] = [];
  const rules: string[] = [];
  const name = (p: NetworkPolicy) => `${p.metadata.namespace}/${p.metadata.name}`;
  for (const policy of [...world.policies].sort((a, b) => (name(a) < name(b) ? -1 : 1))) {
    const spec = policy.spec!;
    if (policy.metadata.namespace !== pod.namespace || !select(spec.podSelector ?? {}, pod.labels)) continue;
    if (!policyTypes(spec).includes(ingress ? 'Ingress' : 'Egress')) continue;
    isolating.push(name(policy));
    for (const [i, { peers, ports }] of ruleList(spec, ingress).entries()) {
      const peerOk = peers.length === 0 || peers.some((peer) => peerHolds(world, policy, peer, other));
      const portOk = ports.length === 0 || ports.some((port) => portHolds(port, flow, destination));
      if (peerOk && portOk) rules.push(`${name(policy)} ${i}`);
    }
  }
  return isolating.length > 0 ? { isolating, rules } : undefined;
}

function check(expected: ReturnType<typeof read>, side: Side): void {
  const reading = expected && {
    verdict: expected.rules.length > 0 ? 'allow' : 'deny',
    isolating: expected.isolating,
    rule: expected.rules[0],
  };
  const decided = side.reason === 'rule' || side.reason === 'default-deny';
  const answer = decided
    ? {
        verdict: side.verdict,
        isolating: side.isolatedBy.map((p) => `${p.namespace}/${p.name}`),
        rule: side.rule && `${side.rule.namespace}/${side.rule.name} ${side.rule.index}`,
      }
    : undefined;
  assert.deepEqual(answer, reading);
  if (!decided) assert.equal(side.verdict, 'allow');
}

test('decide gives what a plain reading of the specification gives', () => {
  const draws = worlds.chain((world) =>
    fc.array(flowsIn(world), { minLength: 20, maxLength: 20 }).map((flows) => ({ world, flows })),
  );
  fc.assert(
    fc.property(draws, ({ world, flows }) => {
      const decide = createDecider(world);
      for (const flow of flows) {
        const decision = decide(flow);
        check(read(world, flow, false), decision.egress);
        check(read(world, flow, true), decision.ingress);
        const denied = decision.egress.verdict === 'deny' || decision.ingress.verdict === 'deny';
        assert.equal(decision.verdict, denied ? 'deny' : 'allow');
      }
    }),
    { numRuns: 500 },
  );
});
