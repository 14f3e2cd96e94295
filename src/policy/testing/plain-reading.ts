/**
 * A second reading of the model, from its description alone (docs/combining-policies.md): it shares no code with the
 * engine, and takes policies as plain data.
 */
import { BlockList } from 'node:net';
import type { PortMatch } from '../model.ts';
import type { Flow, FlowEnd, World, WorldPod } from '../world.ts';
import type { PlainPeer, PlainPods, PlainPolicy, PlainRule } from './plain-policies.ts';

export interface PlainReading {
  readonly verdict: 'allow' | 'deny';
  readonly reason: string;
  /** `name index` of the deciding rule. */
  readonly rule?: string;
  /** Names. */
  readonly isolating: readonly string[];
  readonly closing?: readonly string[];
  readonly redirect: boolean;
  readonly auth?: string | undefined;
  readonly logged: readonly string[];
}

interface Who {
  readonly pod?: WorldPod | undefined;
  readonly node?: string | undefined;
  readonly ip: string;
}

const has = (labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);

function inRange(ip: string, cidr: string): boolean {
  if (ip.includes(':') !== cidr.includes(':')) return false;
  const family = ip.includes(':') ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  list.addSubnet(cidr.split('/')[0]!, Number(cidr.split('/')[1]), family);
  return list.check(ip, family);
}

function who(world: World, end: FlowEnd, family: number): Who {
  const right = (ip: string) => ip.includes(':') === (family === 6);
  if ('address' in end) {
    const pod = world.pods.find((p) => !p.hostNetwork && p.addresses.includes(end.address));
    return {
      pod,
      node: pod ? undefined : world.nodes.find((n) => n.addresses.includes(end.address))?.name,
      ip: end.address,
    };
  }
  const pod = world.pods.find((p) => `${p.namespace}/${p.name}` === end.pod)!;
  if (!pod.hostNetwork) return { pod, ip: pod.addresses.find(right)! };
  return { node: pod.node, ip: world.nodes.find((n) => n.name === pod.node)!.addresses.find(right)! };
}

function isPod(world: World, { namespace, labels, account }: PlainPods, pod: WorldPod | undefined): boolean {
  if (!pod) return false;
  const own = world.namespaces.find(({ name }) => name === pod.namespace)?.labels ?? {};
  const inNamespace = typeof namespace === 'string' ? namespace === pod.namespace : has(own, namespace);
  if (!inNamespace || !has(pod.labels, labels)) return false;
  if (account === undefined) return true;
  const name = pod.serviceAccount ?? 'default';
  if (typeof account === 'string') return account === name;
  const found = world.serviceAccounts?.find((each) => each.namespace === pod.namespace && each.name === name);
  return has(found?.labels ?? {}, account);
}

function isPeer(world: World, peer: PlainPeer, there: Who): boolean {
  const nodes = world.nodes.filter(({ addresses, externalAddresses }) =>
    [...addresses, ...(externalAddresses ?? [])].includes(there.ip),
  );
  switch (peer.is) {
    case 'pods':
      return isPod(world, peer.pods, there.pod);
    case 'block':
      return inRange(there.ip, peer.cidr) && !peer.except.some((range) => inRange(there.ip, range));
    case 'nodes':
      return nodes.some(({ labels }) => has(labels ?? {}, peer.labels));
    case 'names':
      return (world.names ?? []).some(
        ({ name, addresses }) => peer.names.includes(name) && addresses.includes(there.ip),
      );
    case 'all':
      return peer.of.every((each) => isPeer(world, each, there));
    case 'any':
      return peer.of.some((each) => isPeer(world, each, there));
    case 'not':
      return !isPeer(world, peer.of, there);
    default: {
      const [isOfPod, isOfNode] = [there.pod !== undefined, !there.pod && nodes.length > 0];
      return {
        all: true,
        host: false,
        'remote-node': isOfNode,
        cluster: isOfPod || isOfNode,
        world: !isOfPod && !isOfNode,
      }[peer.entity];
    }
  }
}

function isPort(
  match: PortMatch,
  flow: Flow,
  pod: WorldPod | undefined,
  number: number | undefined,
): boolean {
  if ('protocolNumber' in match)
    return flow.protocol === 'OTHER' && flow.protocolNumber === match.protocolNumber;
  if (flow.protocol !== match.protocol) return false;
  if ('first' in match) return number !== undefined && number >= match.first && number <= match.last;
  if ('name' in match)
    return (pod?.ports ?? []).some(
      ({ name, port, protocol }) => name === match.name && protocol === match.protocol && port === number,
    );
  if (match.family !== undefined && match.family !== flow.family) return false;
  if (match.type !== undefined && match.type !== flow.icmp?.type) return false;
  return match.code === undefined || match.code === flow.icmp?.code;
}

interface Placed {
  readonly rule: PlainRule;
  readonly policy: PlainPolicy;
  readonly key: string;
}

const isFor = (policy: PlainPolicy, direction: string): boolean =>
  policy.rules.some((rule) => rule.direction === direction) || policy.isolates[direction as 'ingress'];

/** Undefined where nothing is enforced. */
export function readPlain(
  world: World,
  policies: readonly PlainPolicy[],
  flow: Flow,
  direction: 'ingress' | 'egress',
): PlainReading | 'free' {
  const [source, destination] = [who(world, flow.src, flow.family!), who(world, flow.dst, flow.family!)];
  const [here, there] = direction === 'ingress' ? [destination.pod, source] : [source.pod, destination];
  if (!here || there.pod === here) return 'free';
  if (!there.pod && (there.node === here.node || world.nodeLocal!.includes(there.ip))) return 'free';
  const own = policies.filter((policy) => isFor(policy, direction) && isPod(world, policy.subject, here));
  const isolating = own.filter((policy) => policy.isolates[direction]);
  const matching = own.flatMap((policy) =>
    policy.rules.flatMap((rule, index): Placed[] => {
      if (rule.direction !== direction) return [];
      const peerHolds = rule.peers === null || rule.peers.some((peer) => isPeer(world, peer, there));
      const portHolds =
        rule.ports === null || rule.ports.some((each) => isPort(each, flow, destination.pod, flow.port));
      const sourceHolds =
        !rule.sourcePorts || rule.sourcePorts.some((each) => isPort(each, flow, source.pod, flow.sourcePort));
      if (!peerHolds || !portHolds || !sourceHolds) return [];
      const key = `${policy.name} ${index}`;
      if (!rule.paths || !rule.onward || !flow.request) return [{ rule, policy, key }];
      return isRequested(rule, flow) ? [{ rule: { ...rule, paths: undefined }, policy, key }] : [];
    }),
  );
  const names = (list: readonly PlainPolicy[]) =>
    [...list]
      .sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1))
      .map(({ name }) => name);
  const base = { isolating: names(isolating), redirect: false };
  const logged: string[] = [];
  for (const tier of [1_000, 5_000, 1_000_000, 10_000_000]) {
    const asked = matching.filter(({ policy }) => policy.tier === tier).sort(inOrder);
    const first = asked.find(({ rule }) => rule.verdict !== 'log');
    const before = first ? asked.slice(0, asked.indexOf(first)) : asked;
    logged.push(...before.map(({ key }) => key));
    if (first && first.rule.verdict !== 'pass') return { ...base, ...readAdded(asked, first, flow), logged };
    const closing = isolating.filter((policy) => policy.tier === tier);
    if (!first && closing.length > 0)
      return { ...base, verdict: 'deny', reason: 'default-deny', closing: names(closing), logged };
  }
  return { ...base, verdict: 'allow', reason: own.length > 0 ? 'no-rule' : 'not-isolated', logged };
}

function inOrder(a: Placed, b: Placed): number {
  if (a.rule.priority !== b.rule.priority) return a.rule.priority < b.rule.priority ? -1 : 1;
  if (a.policy.namespace !== b.policy.namespace) return a.policy.namespace < b.policy.namespace ? -1 : 1;
  if (a.policy.name !== b.policy.name) return a.policy.name < b.policy.name ? -1 : 1;
  return Number(a.key.split(' ')[1]) - Number(b.key.split(' ')[1]);
}

const isRequested = ({ paths }: PlainRule, { request }: Flow): boolean =>
  request?.type === 'http' &&
  request.method === 'GET' &&
  paths!.some((path) => request.path.startsWith(path));

/** Rules that allow with one priority, none of another kind between them, add up. */
function readAdded(asked: readonly Placed[], first: Placed, flow: Flow) {
  if (first.rule.verdict === 'deny') return { verdict: 'deny', reason: 'rule', rule: first.key } as const;
  const added: Placed[] = [];
  for (const each of asked.slice(asked.indexOf(first))) {
    if (each.rule.verdict === 'log') continue;
    if (each.rule.verdict !== 'allow' || each.rule.priority !== first.rule.priority) break;
    added.push(each);
  }
  const failing = added.filter(({ rule }) => rule.auth === 'test-always-fail');
  const proving = [...failing, ...added.filter(({ rule }) => rule.auth === 'required')][0];
  const allowed = { verdict: 'allow', reason: 'rule', auth: proving?.rule.auth } as const;
  const plain = added.find(({ rule }) => !rule.paths);
  if (plain) return { ...allowed, rule: (proving ?? plain).key };
  const { request } = flow;
  if (!request) return { ...allowed, rule: (proving ?? first).key, redirect: true };
  const passing = added.find(({ rule }) => isRequested(rule, flow));
  if (passing) return { ...allowed, rule: passing.key };
  return { verdict: 'deny', reason: 'request', rule: first.key } as const;
}
