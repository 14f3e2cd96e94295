/**
 * A second reading of Calico's policies, written from its API reference alone: it shares no code with the engine, not
 * even for selectors, which mean what the tables of calico-policies.ts say.
 */
import { BlockList } from 'node:net';
import type { CalicoEntityRule, CalicoPolicy, CalicoRule } from '../../api/calico-types.ts';
import type { NetworkPolicy } from '../../api/types.ts';
import type { Flow, World, WorldPod, WorldTier } from '../world.ts';
import {
  ACCOUNT_SELECTORS,
  JOINT_SELECTORS,
  MIXED_SELECTORS,
  NAMESPACE_SELECTORS,
  SELECTORS,
} from './calico-policies.ts';
import { type Who, who } from './reading.ts';

export interface CalicoReading {
  readonly verdict: 'allow' | 'deny';
  /** `kind namespace/name index`; absent: no rule decided. */
  readonly rule?: string;
  /** A connection on which only requests can be judged. */
  readonly redirect?: true;
  readonly logged: readonly string[];
}

type Labels = Readonly<Record<string, string>>;

/** What policies select: a pod, or ranges of a network set. */
interface Endpoint {
  /** Undefined: of no namespace. */
  readonly namespace: string | undefined;
  readonly labels: Labels;
  readonly ofNamespace: Labels;
  readonly ofAccount: Labels;
}

const meaning = (tables: (typeof SELECTORS)[], text: string, labels: Labels): boolean =>
  Object.assign({}, ...tables)[text](labels);
const ANY = [SELECTORS, JOINT_SELECTORS, MIXED_SELECTORS];

const inRange = (ip: string, net: string): boolean => {
  const family = (text: string) => (text.includes(':') ? 'ipv6' : 'ipv4');
  if (family(ip) !== family(net)) return false;
  const [network = '', length = family(net) === 'ipv4' ? '32' : '128'] = net.split('/');
  const block = new BlockList();
  block.addSubnet(network, Number(length), family(net));
  return block.check(ip, family(ip));
};

const prefixed = (prefix: string, labels: Labels): Labels =>
  Object.fromEntries(Object.entries(labels).map(([key, value]) => [prefix + key, value]));

function inNamespace(world: World, namespace: string) {
  const known = world.namespaces.find((n) => n.name === namespace)?.labels;
  return { ...known, 'projectcalico.org/name': namespace, 'kubernetes.io/metadata.name': namespace };
}

function podEndpoint(world: World, pod: WorldPod): Endpoint {
  const account = pod.serviceAccount || 'default';
  const ofNamespace = inNamespace(world, pod.namespace);
  const known = world.serviceAccounts!.find((a) => a.namespace === pod.namespace && a.name === account);
  const ofAccount = { ...known?.labels, 'projectcalico.org/name': account };
  return {
    namespace: pod.namespace,
    ofNamespace,
    ofAccount,
    labels: {
      ...prefixed('pcns.', ofNamespace),
      ...prefixed('pcsa.', ofAccount),
      ...pod.labels,
      'projectcalico.org/namespace': pod.namespace,
      'projectcalico.org/serviceaccount': account,
      'projectcalico.org/orchestrator': 'k8s',
    },
  };
}

/** All that is at the other end: the pod, and every network set with the address. */
function endpointsAt(world: World, { pod, ip }: Who): Endpoint[] {
  const sets = (world.surroundings!.addressSets ?? [])
    .filter(({ cidrs }) => cidrs.some((net) => inRange(ip, net)))
    .map(({ namespace, labels }): Endpoint => {
      if (namespace === '') return { namespace: undefined, labels, ofNamespace: {}, ofAccount: {} };
      const ofNamespace = inNamespace(world, namespace);
      const all = { ...prefixed('pcns.', ofNamespace), ...labels, 'projectcalico.org/namespace': namespace };
      return { namespace, labels: all, ofNamespace, ofAccount: {} };
    });
  return [...(pod ? [podEndpoint(world, pod)] : []), ...sets];
}

const namespaceHolds = (text: string, { namespace, ofNamespace }: Endpoint): boolean => {
  if (text === 'all()') return namespace !== undefined;
  if (text === 'global()') return namespace === undefined;
  return meaning([NAMESPACE_SELECTORS], text, ofNamespace);
};

/** The positive selectors of an end: undefined if it has none. */
function selects(entity: CalicoEntityRule, policyNamespace: string): ((e: Endpoint) => boolean) | undefined {
  const { selector, notSelector, namespaceSelector, serviceAccounts } = entity;
  const names = serviceAccounts?.names ?? [];
  const accountText = serviceAccounts?.selector;
  const isSelecting = selector !== undefined || names.length > 0 || accountText !== undefined;
  const isLocal =
    namespaceSelector === undefined && policyNamespace !== '' && (isSelecting || notSelector !== undefined);
  if (!isSelecting && !isLocal && namespaceSelector === undefined) return undefined;
  return (e) =>
    (selector === undefined || meaning(ANY, selector, e.labels)) &&
    (names.length === 0 || names.includes(e.labels['projectcalico.org/serviceaccount'] ?? '')) &&
    (accountText === undefined || meaning([ACCOUNT_SELECTORS], accountText, e.ofAccount)) &&
    (namespaceSelector === undefined || namespaceHolds(namespaceSelector, e)) &&
    (!isLocal || e.namespace === policyNamespace);
}

/** The endpoints of a Service: its pods, or the addresses that somebody keeps for it. */
function serviceHolds(
  world: World,
  { name, namespace }: NonNullable<CalicoEntityRule['services']>,
  policyNamespace: string,
  at: Who,
  flow?: Flow,
): boolean {
  const service = world.surroundings!.services?.find(
    (each) => each.name === name && each.namespace === (namespace ?? policyNamespace),
  );
  if (!service) return false;
  const isThere = service.selector
    ? at.pod?.namespace === service.namespace &&
      Object.entries(service.selector).every(([key, value]) => at.pod!.labels[key] === value)
    : service.addresses!.includes(at.ip);
  if (!isThere || !flow) return isThere;
  return service.ports!.some(
    ({ protocol, port = '0:65535' }) => protocol === flow.protocol && portHolds(port, flow.port!, flow, at),
  );
}

function entityHolds(entity: CalicoEntityRule, policyNamespace: string, at: Endpoint[], ip: string): boolean {
  const wanted = selects(entity, policyNamespace);
  if (wanted && !at.some(wanted)) return false;
  if (entity.notSelector !== undefined && at.some((e) => meaning(ANY, entity.notSelector!, e.labels)))
    return false;
  if (entity.nets && !entity.nets.some((net) => inRange(ip, net))) return false;
  return !(entity.notNets ?? []).some((net) => inRange(ip, net));
}

const NUMBERS: Readonly<Record<string, number>> = {
  TCP: 6,
  UDP: 17,
  SCTP: 132,
  UDPLITE: 136,
  ICMP: 1,
  ICMPV6: 58,
};
const numberOf = (protocol: number | string): number =>
  typeof protocol === 'number' ? protocol : NUMBERS[protocol.toUpperCase()]!;

function flowNumber(flow: Flow): number {
  if (flow.protocol === 'ICMP') return flow.family === 6 ? 58 : 1;
  return flow.protocol === 'OTHER' ? flow.protocolNumber! : NUMBERS[flow.protocol]!;
}

function portHolds(value: number | string, port: number, flow: Flow, destination: Who): boolean {
  const text = String(value);
  if (/[a-z]/.test(text))
    return (destination.pod?.ports ?? []).some(
      (p) => p.name === text && p.port === port && p.protocol === flow.protocol,
    );
  const [first, last = first] = text.split(':').map(Number);
  return port >= first! && port <= last!;
}

/** Everything of a rule but its two ends' addresses and selectors, and its requests. */
function trafficHolds(rule: CalicoRule, flow: Flow, sender: Who, destination: Who): boolean {
  const number = flowNumber(flow);
  if (rule.ipVersion !== undefined && rule.ipVersion !== flow.family) return false;
  if (rule.protocol !== undefined && numberOf(rule.protocol) !== number) return false;
  if (rule.notProtocol !== undefined && numberOf(rule.notProtocol) === number) return false;
  const { icmp, notICMP, source = {}, destination: to = {} } = rule;
  const is = (match: { type?: number; code?: number }) =>
    match.type === flow.icmp!.type && (match.code === undefined || match.code === flow.icmp!.code);
  if (icmp?.type !== undefined && !is(icmp)) return false;
  if (notICMP?.type !== undefined && is(notICMP)) return false;
  for (const [{ ports, notPorts }, port, end] of [
    [source, flow.sourcePort, sender],
    [to, flow.port, destination],
  ] as const) {
    if (ports && !ports.some((value) => portHolds(value, port!, flow, end))) return false;
    if (notPorts?.some((value) => portHolds(value, port!, flow, end))) return false;
  }
  return true;
}

function requestHolds({ http }: CalicoRule, { request }: Flow): boolean {
  if (request?.type !== 'http') return false;
  const path = request.path.split('?')[0]!;
  if (http!.methods && !http!.methods.includes(request.method)) return false;
  if (!http!.paths) return true;
  return http!.paths.some(
    ({ exact, prefix }) => exact === path || (prefix !== undefined && path.startsWith(prefix)),
  );
}

interface Placed {
  readonly tier: string;
  readonly order: number;
  readonly namespace: string;
  readonly name: string;
  readonly kind: string;
  readonly object: CalicoPolicy | NetworkPolicy;
}

const isKubernetes = (object: Placed['object']): object is NetworkPolicy =>
  object.apiVersion === 'networking.k8s.io/v1';

function placed(object: Placed['object']): Placed {
  const { namespace = '', name } = object.metadata;
  if (isKubernetes(object))
    return { tier: 'default', order: 1000, namespace, name, kind: 'NetworkPolicy', object };
  const kind = object.kind === 'NetworkPolicy' ? 'NetworkPolicy.projectcalico.org' : object.kind;
  return {
    tier: object.spec.tier ?? 'default',
    order: object.spec.order ?? Infinity,
    namespace,
    name,
    kind,
    object,
  };
}

function typesOf({ types, ingress = [], egress = [] }: CalicoPolicy['spec']): readonly string[] {
  if (types) return types;
  const own = [...(ingress.length > 0 ? ['Ingress'] : []), ...(egress.length > 0 ? ['Egress'] : [])];
  return own.length > 0 ? own : ['Ingress'];
}

function isFor(world: World, { spec }: CalicoPolicy, here: WorldPod): boolean {
  const endpoint = podEndpoint(world, here);
  const namespaces = 'namespaceSelector' in spec ? spec.namespaceSelector : undefined;
  return (
    (spec.selector === undefined || meaning(ANY, spec.selector, endpoint.labels)) &&
    (spec.serviceAccountSelector === undefined ||
      meaning([ACCOUNT_SELECTORS], spec.serviceAccountSelector, endpoint.ofAccount)) &&
    (namespaces === undefined || namespaceHolds(namespaces, endpoint))
  );
}

function applies(world: World, { object, namespace }: Placed, { here, ingress }: At): boolean {
  const type = ingress ? 'Ingress' : 'Egress';
  if (namespace !== '' && namespace !== here.namespace) return false;
  if (!isKubernetes(object)) return typesOf(object.spec).includes(type) && isFor(world, object, here);
  const { podSelector, policyTypes } = object.spec!;
  const wanted = Object.entries(podSelector?.matchLabels ?? {});
  return policyTypes!.includes(type) && wanted.every(([k, v]) => here.labels[k] === v);
}

/** One flow at the pod where it is judged. */
interface At {
  readonly flow: Flow;
  readonly ingress: boolean;
  readonly here: WorldPod;
  readonly there: Who;
  readonly destination: Who;
}

function ruleHolds(world: World, rule: CalicoRule, namespace: string, at: At): boolean {
  const { flow, ingress, here, there, destination } = at;
  const named = (ingress ? rule.source : rule.destination)?.services;
  if (named && !serviceHolds(world, named, namespace, there, ingress ? undefined : flow)) return false;
  const [own, other] = ingress ? [rule.destination, rule.source] : [rule.source, rule.destination];
  return (
    trafficHolds(rule, flow, ingress ? there : { pod: here, ip: '' }, destination) &&
    entityHolds(own ?? {}, namespace, [podEndpoint(world, here)], '') &&
    entityHolds(other ?? {}, namespace, endpointsAt(world, there), there.ip)
  );
}

type Action = { readonly action: string; readonly rule: string; readonly redirect?: true };

/** Rules of a policy that match, in their order, what is only logged among them. */
function matching(world: World, { object, kind, namespace, name }: Placed, at: At): Action[] {
  const { flow, ingress } = at;
  const key = (i: number) => `${kind} ${namespace}/${name} ${i}`;
  if (isKubernetes(object)) {
    const rules = (ingress ? object.spec!.ingress : object.spec!.egress) ?? [];
    return rules.flatMap(({ ports }, i) =>
      !ports || (flow.protocol === 'TCP' && flow.port === 80) ? [{ action: 'Allow', rule: key(i) }] : [],
    );
  }
  const rules = (ingress ? object.spec.ingress : object.spec.egress) ?? [];
  return rules.flatMap((rule, i) => {
    if (!ruleHolds(world, rule, namespace, at)) return [];
    if (rule.http && flow.request && !requestHolds(rule, flow)) return [];
    const redirect = rule.http && !flow.request ? { redirect: true as const } : {};
    return [{ action: rule.action, rule: key(i), ...redirect }];
  });
}

const byTier = (a: WorldTier, b: WorldTier): number => {
  const [x, y] = [a.order ?? Infinity, b.order ?? Infinity];
  return x === y ? (a.name < b.name ? -1 : 1) : x - y;
};

function byOrder(a: Placed, b: Placed): number {
  if (a.order !== b.order) return a.order < b.order ? -1 : 1;
  return `${a.namespace} ${a.name} ${a.kind}` < `${b.namespace} ${b.name} ${b.kind}` ? -1 : 1;
}

/** Undefined where nothing is enforced: at what is no pod, of a pod to itself, and of its own node. */
export function readCalicoSide(world: World, flow: Flow, ingress: boolean): CalicoReading | undefined {
  const source = who(world, flow.src, flow.family!);
  const destination = who(world, flow.dst, flow.family!);
  const [here, there] = ingress ? [destination.pod, source] : [source.pod, destination];
  if (!here || there.pod === here) return undefined;
  if (there.node === here.node || world.nodeLocal!.includes(there.ip)) return undefined;
  const at: At = { flow, ingress, here, there, destination };
  const tiers = [...(world.surroundings!.tiers ?? []), { name: 'default', order: 1_000_000 }].sort(byTier);
  const all = (world.policies as Placed['object'][])
    .map(placed)
    .filter((policy) => applies(world, policy, at))
    .sort(byOrder);

  const logged: string[] = [];
  for (const { name, defaultAction } of tiers) {
    const own = all.filter((policy) => policy.tier === name);
    const found = own.flatMap((policy) => matching(world, policy, at));
    const first = found.findIndex(({ action }) => action !== 'Log');
    logged.push(...found.slice(0, first < 0 ? found.length : first).map(({ rule }) => rule));
    const decisive = found[first];
    if (decisive && decisive.action !== 'Pass') {
      const { action, ...rest } = decisive;
      return { verdict: action === 'Allow' ? 'allow' : 'deny', ...rest, logged };
    }
    if (!decisive && own.length > 0 && defaultAction !== 'Pass') return { verdict: 'deny', logged };
  }
  return { verdict: 'allow', logged };
}
