/**
 * A second reading of Cilium's policies, for tests: written from its documentation and as it thinks, by labels of
 * endpoints with their sources, and without a model. NetworkPolicies, which are of the same tier, are read by reading.ts.
 */
import type {
  CiliumCidrRule,
  CiliumEgressRule,
  CiliumHttpRule,
  CiliumIngressRule,
  CiliumL7Rules,
  CiliumNameSelector,
  CiliumPort,
  CiliumPortRule,
  CiliumRule,
} from '../../api/cilium-policy-types.ts';
import { compileSelector, type LabelSelector } from '../../api/selector.ts';
import type { CiliumPolicyObject } from '../language/cilium-policy.ts';
import type { HttpRequest } from '../request.ts';
import type { Flow, World, WorldPod } from '../world.ts';
import { inBlock, namespaceLabels, readSide, type Who, who } from './reading.ts';

type AnyRule = CiliumIngressRule & CiliumEgressRule;

interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

interface Case {
  readonly world: World;
  readonly flow: Flow;
  readonly ingress: boolean;
  readonly here: WorldPod;
  readonly there: Who;
  readonly destination: Who;
}

/** What of a policy matches, as it is named, and by what it is ordered. */
interface Match {
  readonly order: readonly [namespace: string, name: string, kind: string, place: number];
  readonly id: string;
  /** There: requests are asked about. Whether this one is among them, if there is one. */
  readonly asks?: { readonly passes: boolean | undefined };
  /** Both ends must prove who they are. */
  readonly mode?: 'required' | 'test-always-fail';
}

export interface CiliumReading {
  readonly verdict: 'allow' | 'deny';
  /** `kind namespace/name path`; of NetworkPolicies with the index. */
  readonly rule?: string;
  /** `namespace/name`, with the part of the object if it is not `spec`. */
  readonly isolating: readonly string[];
  /** Requests are to be asked about, and there is none yet. */
  readonly redirect?: true;
  readonly auth?: 'required' | 'test-always-fail';
}

const isCilium = (p: World['policies'][number]): p is CiliumPolicyObject =>
  p.kind?.startsWith('Cilium') ?? false;

// Labels.

function labelsOf(world: World, pod: WorldPod): Label[] {
  const k8s = (key: string, value: string) => ({ source: 'k8s', key, value });
  return [
    ...Object.entries(pod.labels).map(([key, value]) => k8s(key, value)),
    k8s('io.kubernetes.pod.namespace', pod.namespace),
    k8s('io.cilium.k8s.policy.cluster', 'default'),
    k8s('io.cilium.k8s.policy.serviceaccount', pod.serviceAccount ?? 'default'),
    ...Object.entries(namespaceLabels(world, pod.namespace)).map(([key, value]) =>
      k8s(`io.cilium.k8s.namespace.labels.${key}`, value),
    ),
  ];
}

const isNode = (world: World, { node, ip }: Who): boolean =>
  node !== undefined ||
  world.nodes.some((n) => [...n.addresses, ...(n.externalAddresses ?? [])].includes(ip));

const isOutside = (world: World, there: Who): boolean => !there.pod && !isNode(world, there);

/** One of the endpoints of the Service `default/kubernetes`. */
const isApiServer = (world: World, { pod, ip }: Who): boolean =>
  !pod &&
  (world.surroundings?.services ?? []).some(
    ({ namespace, name, addresses }) =>
      namespace === 'default' && name === 'kubernetes' && addresses?.includes(ip) === true,
  );

function labelsThere({ world, there }: Case): Label[] {
  if (there.pod) return labelsOf(world, there.pod);
  const names = isNode(world, there)
    ? ['remote-node']
    : ['world', there.ip.includes(':') ? 'world-ipv6' : 'world-ipv4'];
  if (isApiServer(world, there)) names.push('kube-apiserver');
  return names.map((key) => ({ source: 'reserved', key, value: '' }));
}

/** Every requirement with its source: `[source, key, operator, values]`. */
function requirements({ matchLabels = {}, matchExpressions = [] }: LabelSelector) {
  const all = [
    ...Object.entries(matchLabels).map(([key, value]) => ({ key, operator: 'In', values: [value] })),
    ...matchExpressions,
  ];
  return all.map(({ key: text, operator, values = [] }) => {
    const [source, key] = text.includes(':') ? (text.split(':') as [string, string]) : ['any', text];
    return { source, key, operator, values };
  });
}

function selects(wanted: ReturnType<typeof requirements>, labels: readonly Label[]): boolean {
  return wanted.every(({ source, key, operator, values }) => {
    const found = labels.filter((l) => l.key === key && (source === 'any' || l.source === source));
    if (operator === 'Exists') return found.length > 0;
    if (operator === 'DoesNotExist') return found.length === 0;
    const isListed = found.some(({ value }) => values.includes(value));
    return operator === 'In' ? isListed : !isListed;
  });
}

const NAMESPACE = 'io.kubernetes.pod.namespace';

function endpointHolds(at: Case, selector: LabelSelector, namespace: string): boolean {
  const wanted = requirements(selector);
  const names = (prefix: string) => wanted.some(({ key }) => key.startsWith(prefix));
  const isReserved = wanted.some(({ source }) => source === 'reserved');
  if (!isReserved && !wanted.some(({ key }) => key === NAMESPACE)) {
    if (namespace === '') wanted.push({ source: 'k8s', key: NAMESPACE, operator: 'Exists', values: [] });
    else if (!names('io.cilium.k8s.namespace.labels.'))
      wanted.push({ source: 'k8s', key: NAMESPACE, operator: 'In', values: [namespace] });
  }
  return selects(wanted, labelsThere(at));
}

function subjectHolds(world: World, selector: LabelSelector, namespace: string, pod: WorldPod): boolean {
  const own = `k8s:${NAMESPACE}`;
  const { [own]: _overridden, ...others } = selector.matchLabels ?? {};
  const matchLabels = namespace === '' ? (selector.matchLabels ?? {}) : { ...others, [own]: namespace };
  return selects(requirements({ ...selector, matchLabels }), labelsOf(world, pod));
}

// Peers.

function entityHolds({ world, there }: Case, entity: string): boolean {
  const outside = isOutside(world, there);
  if (entity === 'all') return true;
  if (entity === 'world') return outside;
  if (entity === 'world-ipv4') return outside && !there.ip.includes(':');
  if (entity === 'world-ipv6') return outside && there.ip.includes(':');
  if (entity === 'cluster') return !outside;
  if (entity === 'kube-apiserver') return isApiServer(world, there);
  return entity === 'remote-node' && !there.pod && isNode(world, there);
}

const asRange = (text: string): string =>
  text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`;

/** Of the rule itself, or of the groups that it names. */
function rangesOf(
  world: World,
  { cidr, cidrGroupRef, cidrGroupSelector }: CiliumCidrRule,
): readonly string[] {
  if (cidr !== undefined) return [asRange(cidr)];
  return (world.surroundings?.addressSets ?? [])
    .filter(({ kind }) => kind === 'CiliumCIDRGroup')
    .filter(({ name, labels }) =>
      cidrGroupSelector ? compileSelector(cidrGroupSelector)(labels) : name === cidrGroupRef,
    )
    .flatMap(({ cidrs }) => cidrs);
}

const rangeHolds = ({ world, there }: Case, rule: CiliumCidrRule): boolean =>
  isOutside(world, there) &&
  rangesOf(world, rule).some((range) => inBlock(there.ip, range)) &&
  !(rule.except ?? []).some((range) => inBlock(there.ip, range));

/** Cilium's matchpattern. */
function nameHolds({ matchName, matchPattern }: CiliumNameSelector, name: string): boolean {
  const plain = (text: string) => text.toLowerCase().replace(/\.$/, '');
  if (matchName !== undefined) return plain(matchName) === plain(name);
  const pattern = plain(matchPattern!);
  if (pattern === '*') return true;
  const source = pattern
    .replace(/^\*\*\./, '<deep>')
    .replaceAll('.', '[.]')
    .replaceAll('*', '[-a-z0-9_]*')
    .replace('<deep>', '([-a-z0-9_]+[.])+');
  return new RegExp(`^${source}$`).test(plain(name));
}

const addressHolds = ({ world, there }: Case, selector: CiliumNameSelector): boolean =>
  isOutside(world, there) &&
  (world.names ?? []).some(
    ({ name, addresses }) => addresses.includes(there.ip) && nameHolds(selector, name),
  );

/** Undefined if the rule says nothing of peers. */
function peersHold(at: Case, rule: AnyRule, namespace: string): boolean | undefined {
  const { world, there } = at;
  const side = at.ingress ? 'from' : 'to';
  const nodes = (selector: LabelSelector) =>
    world.nodes.some(
      (n) =>
        [...n.addresses, ...(n.externalAddresses ?? [])].includes(there.ip) &&
        selects(
          requirements(selector),
          Object.entries(n.labels ?? {}).map(([key, value]) => ({ source: 'k8s', key, value })),
        ),
    );
  const lists = [
    rule[`${side}Endpoints`]?.map((selector) => endpointHolds(at, selector, namespace)),
    rule[`${side}Entities`]?.map((entity) => entityHolds(at, entity)),
    rule[`${side}CIDR`]?.map((cidr) => rangeHolds(at, { cidr })),
    rule[`${side}CIDRSet`]?.map((range) => rangeHolds(at, range)),
    rule[`${side}Nodes`]?.map(nodes),
    rule.toFQDNs?.map((name) => addressHolds(at, name)),
  ].filter((list) => list !== undefined);
  return lists.length === 0 ? undefined : lists.every((list) => list.includes(true));
}

// Ports and requests.

function portHolds(
  { flow, destination }: Case,
  { port = '0', endPort = 0, protocol = 'ANY' }: CiliumPort,
): boolean {
  if (protocol === 'VRRP') return flow.protocol === 'OTHER' && flow.protocolNumber === 112;
  if (protocol === 'IGMP') return flow.protocol === 'OTHER' && flow.protocolNumber === 2;
  if (!['TCP', 'UDP', 'SCTP'].includes(flow.protocol)) return false;
  if (protocol !== 'ANY' && protocol !== flow.protocol) return false;
  if (!/^\d+$/.test(port))
    return (destination.pod?.ports ?? []).some(
      (p) => p.name === port.toLowerCase() && p.protocol === flow.protocol && p.port === flow.port,
    );
  const first = Number(port);
  return first === 0 || (flow.port! >= first && flow.port! <= Math.max(first, endPort));
}

const ICMP_NAMES: Readonly<Record<string, number>> = {
  EchoReply: 0,
  EchoRequest: 8,
  'IPv6 EchoRequest': 128,
};

const icmpHolds = (
  { flow }: Case,
  { family = 'IPv4', type }: { family?: string; type: number | string },
): boolean =>
  flow.protocol === 'ICMP' &&
  flow.family === (family === 'IPv6' ? 6 : 4) &&
  flow.icmp?.type ===
    (typeof type === 'number' ? type : ICMP_NAMES[family === 'IPv6' ? `IPv6 ${type}` : type]);

function httpHolds(rule: CiliumHttpRule, request: HttpRequest): boolean {
  const whole = (pattern: string | undefined, text: string) =>
    !pattern || new RegExp(`^(?:${pattern})$`).test(text);
  const value = (name: string) => request.headers?.[name.toLowerCase()];
  const headers = (rule.headers ?? []).every((text) => {
    const [name = '', wanted] = text.split(': ');
    return wanted === undefined ? value(name) !== undefined : value(name) === wanted;
  });
  const matches = (rule.headerMatches ?? []).every(({ name, value: wanted }) =>
    wanted ? value(name) === wanted : value(name) !== undefined,
  );
  return (
    whole(rule.method, request.method) &&
    whole(rule.path, request.path) &&
    whole(rule.host, request.host!) &&
    headers &&
    matches
  );
}

function requestHolds({ flow: { request } }: Case, rules: CiliumL7Rules): boolean | undefined {
  if (!request) return undefined;
  if (rules.http) return request.type === 'http' && rules.http.some((rule) => httpHolds(rule, request));
  return request.type === 'dns' && rules.dns!.some((name) => nameHolds(name, request.name));
}

const asksRequests = ({ rules }: CiliumPortRule): boolean => (rules?.http ?? rules?.dns ?? []).length > 0;

/** What of a rule matches: the whole of it, or entries of toPorts that ask about requests. */
function matchesOf(at: Case, rule: AnyRule, namespace: string): { suffix: string; asks?: Match['asks'] }[] {
  const { toPorts = [], icmps = [] } = rule;
  const peers = peersHold(at, rule, namespace);
  if (peers === false) return [];
  if (icmps.length > 0)
    return icmps.some(({ fields = [] }) => fields.some((field) => icmpHolds(at, field)))
      ? [{ suffix: '' }]
      : [];
  // "An empty rule": it selects nobody.
  if (toPorts.length === 0) return peers ? [{ suffix: '' }] : [];
  const holding = toPorts
    .map((entry, i) => ({ entry, i }))
    .filter(({ entry }) => (entry.ports ?? []).some((p) => portHolds(at, p)));
  return [
    ...(holding.some(({ entry }) => !asksRequests(entry)) ? [{ suffix: '' }] : []),
    ...holding
      .filter(({ entry }) => asksRequests(entry))
      .map(({ entry, i }) => ({
        suffix: `.toPorts[${i}]`,
        asks: { passes: requestHolds(at, entry.rules!) },
      })),
  ];
}

// Policies.

interface Body {
  readonly policy: CiliumPolicyObject;
  readonly namespace: string;
  readonly body: CiliumRule;
  readonly path: string;
}

const bodiesOf = (policy: CiliumPolicyObject): Body[] => {
  const namespace = policy.kind === 'CiliumNetworkPolicy' ? policy.metadata.namespace! : '';
  return [
    ...(policy.spec ? [{ policy, namespace, body: policy.spec, path: 'spec' }] : []),
    ...(policy.specs ?? []).map((body, i) => ({ policy, namespace, body, path: `specs[${i}]` })),
  ];
};

function ruleMatches(
  at: Case,
  { policy, namespace, body, path }: Body,
  place: number,
  deny: boolean,
): Match[] {
  const section = `${at.ingress ? 'ingress' : 'egress'}${deny ? 'Deny' : ''}` as const;
  return (body[section] ?? []).flatMap((rule, i) =>
    matchesOf(at, rule, namespace).map(({ suffix, asks }, j) => ({
      order: [namespace, policy.metadata.name, policy.kind, place * 10_000 + i * 100 + j] as const,
      id: `${policy.kind} ${namespace}/${policy.metadata.name} ${path}.${section}[${i}]${suffix}`,
      ...(asks ? { asks } : {}),
      ...(rule.authentication && rule.authentication.mode !== 'disabled'
        ? { mode: rule.authentication.mode as 'required' }
        : {}),
    })),
  );
}

function first(matches: readonly Match[]): Match | undefined {
  const before = (a: Match, b: Match) => {
    const place = a.order.findIndex((part, i) => part !== b.order[i]);
    return place >= 0 && a.order[place]! < b.order[place]!;
  };
  return matches.reduce<Match | undefined>(
    (best, each) => (best && !before(each, best) ? best : each),
    undefined,
  );
}

/** Of the default tier, by policies of Cilium's and NetworkPolicies. Undefined where nothing is enforced. */
export function readCiliumSide(world: World, flow: Flow, ingress: boolean): CiliumReading | undefined {
  const source = who(world, flow.src, flow.family!);
  const destination = who(world, flow.dst, flow.family!);
  const [here, there] = ingress ? [destination.pod, source] : [source.pod, destination];
  const others = { ...world, policies: world.policies.filter((p) => !isCilium(p)) };
  const plain = readSide(others, flow, ingress);
  if (!here || !plain) return undefined;
  const at: Case = { world, flow, ingress, here, there, destination };
  const bodies = world.policies
    .filter(isCilium)
    .flatMap((policy) => bodiesOf(policy))
    .filter(({ body, namespace }) => subjectHolds(world, body.endpointSelector!, namespace, here));
  const isolating = [...closedBy(bodies, ingress), ...plain.isolating];
  const denying = first(bodies.flatMap((each, i) => ruleMatches(at, each, i, true)));
  if (denying) return { verdict: 'deny', rule: denying.id, isolating };
  const allows = bodies.flatMap((each, i) => ruleMatches(at, each, i, false));
  return { ...allowed([...allows, ...ofNetworkPolicy(plain.rule)], isolating.length > 0, flow), isolating };
}

function closedBy(bodies: readonly Body[], ingress: boolean): string[] {
  const direction = ingress ? 'ingress' : 'egress';
  const rules = (body: CiliumRule) => [...(body[direction] ?? []), ...(body[`${direction}Deny`] ?? [])];
  return bodies
    .filter(({ body }) => rules(body).length > 0 && body.enableDefaultDeny?.[direction] !== false)
    .map(({ policy, namespace, path }) => {
      const part = path === 'spec' ? '' : ` ${path}`;
      return { kind: policy.kind, name: `${namespace}/${policy.metadata.name}${part}` };
    })
    .sort((a, b) => (`${a.kind} ${a.name}` < `${b.kind} ${b.name}` ? -1 : 1))
    .map(({ name }) => name);
}

/** As one that allows without more. */
function ofNetworkPolicy(rule: string | undefined): Match[] {
  if (rule === undefined) return [];
  const [kind = '', key = '', place = ''] = rule.split(' ');
  const [namespace = '', name = ''] = key.split('/');
  return [{ order: [namespace, name, kind, Number(place)], id: rule }];
}

/** Of what allows, all together: what asks for nothing more, else what asks about requests. */
function allowed(
  allows: readonly Match[],
  isClosed: boolean,
  { request }: Flow,
): Omit<CiliumReading, 'isolating'> {
  if (allows.length === 0) return { verdict: isClosed ? 'deny' : 'allow' };
  const plainly = first(allows.filter(({ asks }) => !asks));
  const asking = first(allows.filter(({ asks }) => asks));
  const passing = first(allows.filter(({ asks }) => asks?.passes === true));
  // What any rule asks for is asked for, and named: proofs that fail before those that may succeed.
  const failing = first(allows.filter(({ mode }) => mode === 'test-always-fail'));
  const proving = failing ?? first(allows.filter(({ mode }) => mode));
  const auth = proving ? { auth: proving.mode! } : {};
  if (plainly) return { verdict: 'allow', rule: (proving ?? plainly).id, ...auth };
  if (!request) return { verdict: 'allow', rule: (proving ?? asking!).id, redirect: true, ...auth };
  return passing ? { verdict: 'allow', rule: passing.id, ...auth } : { verdict: 'deny', rule: asking!.id };
}
