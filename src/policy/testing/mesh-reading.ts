/**
 * A second reading of Istio's authorization reference, written apart from the engine and straight from the objects: no
 * model, no lowering. Of flows that say what they carry. Regular expressions stand for patterns.
 */
import type { AuthorizationPolicy, AuthorizationRule, PeerAuthentication } from '../../api/istio-types.ts';
import { STAGE } from '../../api/labels.ts';
import { contains, parseAddress, parseCidr, tryParseAddress } from '../../lib/ip.ts';
import { isObject } from '../../lib/json.ts';
import type { MeshObject } from '../mesh/objects.ts';
import { buildPlaces, type End, resolveFlow } from '../scene.ts';
import type { GrpcRequest, HttpRequest } from '../request.ts';
import type { Flow, World, WorldPod } from '../world.ts';

export interface MeshVerdict {
  readonly verdict: 'allow' | 'deny';
  /** `AuthorizationPolicy a/b spec.rules[0]`; of a default deny the policies; empty if nothing decided. */
  readonly by: string;
}

/** @param audited count audited objects too */
export function readMesh(world: World, flow: Flow, audited: boolean): MeshVerdict {
  const scene = { ...buildPlaces(world), policies: [] };
  const { src, dst, port = 0, protocol } = resolveFlow(scene, flow);
  const pass = { verdict: 'allow', by: '' } as const;
  if (dst.type !== 'pod' || protocol !== 'TCP' || !hasProxy(world, dst.pod)) return pass;
  if (src.type === 'pod' && src.pod === dst.pod) return pass;
  const isLocal = src.address !== undefined && scene.isNodeLocal(src.address);
  if (isLocal || (src.type === 'node' && src.node === dst.pod.node)) return pass;
  const objects = (world.mesh ?? []).filter((each) => audited || stageOf(world, each) !== 'audit');
  const pod = dst.pod;

  const tls = modeAt(objects, pod, port);
  const from =
    flow.peer?.tls ??
    (src.type === 'pod' && hasProxy(world, src.pod) && tls.mode !== 'DISABLE' ? 'mutual' : 'none');
  if (tls.mode === 'STRICT' && from !== 'mutual') return { verdict: 'deny', by: tls.by };

  const known = knowledge(flow, src, dst, port, from === 'mutual' && tls.mode !== 'DISABLE');
  return authorize(objects, pod, flow, known);
}

/** "The evaluation is determined by the following rules": CUSTOM, DENY, ALLOW. */
function authorize(objects: readonly MeshObject[], pod: WorldPod, flow: Flow, known: Values): MeshVerdict {
  const policies = objects
    .filter((each): each is AuthorizationPolicy => each.kind === 'AuthorizationPolicy')
    .filter((each) => isFor(each, pod))
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
  const of = (action: string) => policies.filter((each) => (each.spec?.action ?? 'ALLOW') === action);
  const first = (list: readonly AuthorizationPolicy[]) => {
    for (const policy of list)
      for (const [i, rule] of (policy.spec?.rules ?? []).entries())
        if (ruleMatches(rule, policy, known))
          return { policy, by: `AuthorizationPolicy ${key(policy)} spec.rules[${i}]` };
    return undefined;
  };
  const custom = of('CUSTOM');
  const providers = new Set(custom.map((each) => each.spec?.provider?.name ?? ''));
  const refused = custom.filter(
    (each) => providers.size > 1 || flow.providers?.[each.spec?.provider?.name ?? ''] === 'deny',
  );
  const denied = first(refused) ?? first(of('DENY'));
  if (denied) return { verdict: 'deny', by: denied.by };
  const allow = of('ALLOW');
  if (allow.length === 0) return { verdict: 'allow', by: '' };
  const allowed = first(allow);
  if (allowed) return { verdict: 'allow', by: allowed.by };
  return { verdict: 'deny', by: allow.map((each) => `AuthorizationPolicy ${key(each)}`).join(', ') };
}

const key = ({ metadata }: MeshObject): string => `${metadata.namespace}/${metadata.name}`;

function stageOf(world: World, { kind, metadata }: MeshObject): string {
  const own = metadata.labels?.[STAGE];
  if (own === 'audit' || own === 'enforce') return own;
  if (kind === 'AuthorizationPolicy' && metadata.annotations?.['istio.io/dry-run'] === 'true') return 'audit';
  return world.namespaces.find(({ name }) => name === metadata.namespace)?.labels[STAGE] === 'audit'
    ? 'audit'
    : 'enforce';
}

function isFor({ metadata, spec }: MeshObject, pod: WorldPod): boolean {
  const here = metadata.namespace === 'istio-system' || metadata.namespace === pod.namespace;
  return here && Object.entries(spec?.selector?.matchLabels ?? {}).every(([k, v]) => pod.labels[k] === v);
}

function hasProxy(world: World, pod: WorldPod): boolean {
  if (pod.hostNetwork) return false;
  const ofNamespace = world.namespaces.find(({ name }) => name === pod.namespace)?.labels ?? {};
  for (const labels of [pod.labels, ofNamespace]) {
    if (labels['istio.io/dataplane-mode'] === 'ambient') return true;
    if (labels['istio.io/dataplane-mode'] === 'none' || labels['istio-injection'] === 'disabled')
      return false;
  }
  return true;
}

function modeAt(objects: readonly MeshObject[], pod: WorldPod, port: number): { mode: string; by: string } {
  const mine = objects.filter((each): each is PeerAuthentication => each.kind === 'PeerAuthentication');
  const scope = (test: (each: PeerAuthentication) => boolean) =>
    mine
      .filter((each) => isFor(each, pod) && test(each))
      .sort((a, b) => {
        const [x, y] = [a, b].map(({ metadata }) => metadata.creationTimestamp ?? '9999');
        return x === y ? (key(a) < key(b) ? -1 : 1) : x! < y! ? -1 : 1;
      })[0];
  const selects = ({ spec }: PeerAuthentication) => Object.keys(spec?.selector?.matchLabels ?? {}).length > 0;
  const isRoot = ({ metadata }: PeerAuthentication) => metadata.namespace === 'istio-system';
  const pods = scope((each) => selects(each));
  const levels = [
    pods,
    scope((each) => !selects(each) && !isRoot(each)),
    scope((each) => !selects(each) && isRoot(each)),
  ];
  const said = (mode: string | undefined) => mode !== undefined && mode !== 'UNSET';
  const ofPort = pods?.spec?.portLevelMtls?.[String(port)]?.mode;
  if (pods && said(ofPort))
    return { mode: ofPort!, by: `PeerAuthentication ${key(pods)} spec.portLevelMtls[${port}].mode` };
  const level = levels.find((each) => said(each?.spec?.mtls?.mode));
  if (!level) return { mode: 'PERMISSIVE', by: '' };
  return { mode: level.spec!.mtls!.mode!, by: `PeerAuthentication ${key(level)} spec.mtls.mode` };
}

/** The values that an attribute has; none if it is not there; undefined if the connection is no HTTP. */
type Values = (attribute: string) => readonly string[] | undefined;

function knowledge(flow: Flow, src: End, dst: End, port: number, isKnown: boolean): Values {
  const { request } = flow;
  const http = request?.type === 'http' || request?.type === 'grpc' ? request : undefined;
  const headers = new Map(
    Object.entries(http?.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const connection = ofConnection(flow, src, dst, port, isKnown, headers);
  return (attribute) => {
    if (Object.hasOwn(connection, attribute)) return connection[attribute];
    return http && ofRequest(http, headers, attribute);
  };
}

const optional = (value: string | undefined) => (value === undefined ? [] : [value]);

function ofConnection(
  { peer }: Flow,
  src: End,
  dst: End,
  port: number,
  isKnown: boolean,
  headers: ReadonlyMap<string, string>,
): Record<string, readonly string[]> {
  const pod = src.type === 'pod' ? src.pod : undefined;
  const own = pod && `cluster.local/ns/${pod.namespace}/sa/${pod.serviceAccount ?? 'default'}`;
  const principal = isKnown ? (peer?.principal ?? own) : undefined;
  const [, namespace, account] = /^[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(principal ?? '') ?? [];
  const address = (each: End['address']) => (each ? [`${each.family} ${each.value}`] : []);
  const forwarded = tryParseAddress(headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() ?? '');
  const remote = peer?.remote === undefined ? (forwarded ?? src.address) : parseAddress(peer.remote);
  return {
    principal: optional(principal),
    namespace: optional(namespace),
    account: namespace === undefined ? [] : [`${namespace}/${account}`],
    'source.ip': address(src.address),
    'remote.ip': address(remote),
    'destination.ip': address(dst.address),
    port: [String(port)],
    sni: optional(peer?.sni),
  };
}

function ofRequest(
  http: HttpRequest | GrpcRequest,
  headers: ReadonlyMap<string, string>,
  attribute: string,
): readonly string[] {
  const { claims } = http;
  switch (attribute) {
    case 'host':
      return optional(http.host?.toLowerCase());
    case 'path':
      return [http.type === 'grpc' ? `/${http.service}/${http.method}` : plainPath(http.path)];
    case 'method':
    case 'header :method':
      return [http.type === 'grpc' ? 'POST' : http.method];
    case 'token': {
      const { iss, sub } = claims ?? {};
      return typeof iss === 'string' && typeof sub === 'string' ? [`${iss}\n${sub}`] : [];
    }
    default:
  }
  if (attribute.startsWith('header ')) return optional(headers.get(attribute.slice(7)));
  let value: unknown = claims;
  for (const name of attribute.slice(6).split('/')) value = isObject(value) ? value[name] : undefined;
  return (Array.isArray(value) ? value : [value]).filter((each): each is string => typeof each === 'string');
}

/** The few forms that tests draw. */
const plainPath = (path: string): string =>
  path.replace(/\?.*/, '').replaceAll('%61', 'a').replace('/b/../', '/');

/** `say` gives what a value of a list stands for; a rule that has a part of HTTP is no rule for other connections. */
function ruleMatches(rule: AuthorizationRule, policy: AuthorizationPolicy, values: Values): boolean {
  const ownNamespace = policy.metadata.namespace ?? '';
  let ofHttp = false;
  const test = (
    attribute: string,
    list: readonly string[] | undefined,
    not: readonly string[] | undefined,
    holds: (pattern: string, value: string) => boolean,
  ): boolean => {
    if (!list && !not) return true;
    const there = values(attribute);
    if (!there) {
      ofHttp = true;
      return true;
    }
    const some = (patterns: readonly string[]) =>
      patterns.some((p) => there.some((value) => holds(p, value)));
    return (!list || some(list)) && !(not && some(not));
  };
  const account = (p: string, value: string) => value === (p.includes('/') ? p : `${ownNamespace}/${p}`);
  const lower = (p: string, value: string) => glob(p.toLowerCase(), value);
  const sources = (rule.from ?? [{}]).map(({ source: s = {} }) =>
    [
      test('principal', s.principals, s.notPrincipals, glob),
      test('namespace', s.namespaces, s.notNamespaces, glob),
      test('account', s.serviceAccounts, s.notServiceAccounts, account),
      test('source.ip', s.ipBlocks, s.notIpBlocks, isIn),
      test('remote.ip', s.remoteIpBlocks, s.notRemoteIpBlocks, isIn),
      test('token', s.requestPrincipals, s.notRequestPrincipals, isToken),
    ].every(Boolean),
  );
  const operations = (rule.to ?? [{}]).map(({ operation: o = {} }) =>
    [
      test('port', o.ports, o.notPorts, (p, value) => p === value),
      test('host', o.hosts, o.notHosts, lower),
      test('method', o.methods, o.notMethods, glob),
      test('path', o.paths, o.notPaths, isPath),
    ].every(Boolean),
  );
  const conditions = (rule.when ?? []).map(({ key: k = '', values: list, notValues }) => {
    const [, base = '', inner = ''] = /^([^[]+)(?:\[(.*)\])?$/.exec(k) ?? [];
    switch (base) {
      case 'request.headers':
        return test(`header ${inner.toLowerCase()}`, list, notValues, (p, v) => p === '*' || glob(p, v));
      case 'request.auth.claims':
        return test(`claim ${inner.replaceAll('][', '/')}`, list, notValues, glob);
      case 'request.auth.audiences':
        return test('claim aud', list, notValues, glob);
      case 'request.auth.presenter':
        return test('claim azp', list, notValues, glob);
      case 'request.auth.principal':
        return test('token', list, notValues, isToken);
      case 'source.namespace':
        return test('namespace', list, notValues, glob);
      case 'source.principal':
        return test('principal', list, notValues, glob);
      case 'source.serviceAccount':
        return test('account', list, notValues, account);
      case 'destination.port':
        return test('port', list, notValues, (p, value) => p === value);
      case 'connection.sni':
        return test('sni', list, notValues, glob);
      default:
        return test(base, list, notValues, isIn);
    }
  });
  if (ofHttp && (policy.spec?.action ?? 'ALLOW') === 'ALLOW') return false;
  return sources.includes(true) && operations.includes(true) && conditions.every(Boolean);
}

const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** One * at an end stands for anything; alone for something. */
function glob(pattern: string, value: string): boolean {
  if (pattern === '*') return value !== '';
  if (pattern.startsWith('*')) return new RegExp(`${literal(pattern.slice(1))}$`).test(value);
  if (pattern.endsWith('*')) return new RegExp(`^${literal(pattern.slice(0, -1))}`).test(value);
  return pattern === value;
}

function isPath(pattern: string, value: string): boolean {
  if (!/\{\*\*?\}/.test(pattern)) return glob(pattern, value);
  const parts = pattern.split(/(\{\*\*?\})/);
  const source = parts.map((part) => (part === '{*}' ? '[^/]+' : part === '{**}' ? '.*' : literal(part)));
  return new RegExp(`^${source.join('')}$`).test(value);
}

/** `value` is issuer and subject, a line each. */
function isToken(pattern: string, value: string): boolean {
  const [issuer = '', subject = ''] = value.split('\n');
  if (pattern === '*') return issuer !== '' && subject !== '';
  const at = pattern.lastIndexOf('/');
  if (at >= 0) return glob(pattern.slice(0, at), issuer) && glob(pattern.slice(at + 1), subject);
  return pattern.startsWith('*')
    ? glob(pattern, subject) && issuer !== ''
    : glob(pattern, issuer) && subject !== '';
}

function isIn(pattern: string, value: string): boolean {
  const [family, number] = value.split(' ');
  const address = { family: Number(family) as 4 | 6, value: BigInt(number!) };
  if (pattern.includes('/')) return contains(parseCidr(pattern), address);
  const one = parseAddress(pattern);
  return one.family === address.family && one.value === address.value;
}
