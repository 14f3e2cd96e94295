/** The mesh of a world: which objects of security.istio.io are for which pod. */
import type { Labels } from '../../api/selector.ts';
import { errorText } from '../../lib/errors.ts';
import type { PolicyRef, RuleRef } from '../decision.ts';
import { policyText, ruleKey } from '../decision.ts';
import { lowerAuthorizationPolicy } from '../language/istio-authorization-policy.ts';
import { lowerPeerAuthentication } from '../language/istio-peer-authentication.ts';
import { assignNumbers } from '../numbers.ts';
import { type Stage, stageIn } from '../stage.ts';
import type { PolicyProblem } from '../tables.ts';
import type { World, WorldPod } from '../world.ts';
import type { MeshObject } from './objects.ts';
import {
  type Authorization,
  compareRefs,
  isInScope,
  type MeshAction,
  type MeshRule,
  type PeerTls,
} from './model.ts';
import { type PortTls, tlsOf } from './tls.ts';

export interface Mesh {
  readonly authorizations: readonly Authorization[];
  readonly peers: readonly PeerTls[];
  readonly problems: readonly PolicyProblem[];
  /** Has a proxy. */
  isMember(pod: WorldPod): boolean;
  /** What the proxy of a pod asks. */
  at(pod: WorldPod): Workload;
  numberOf(rule: RuleRef): number;
  /** Of the default deny of those that allow. */
  numberOfDefault(who: Authorizations): number;
}

export interface Workload {
  readonly enforced: Authorizations;
  /** With the audited ones; the very same if none is audited. */
  readonly audited: Authorizations;
}

/** Of one pod, each list by (namespace, name). */
export interface Authorizations {
  readonly custom: readonly Authorization[];
  readonly deny: readonly Authorization[];
  readonly allow: readonly Authorization[];
  readonly audit: readonly Authorization[];
  /** Those that allow. */
  readonly closedBy: readonly PolicyRef[];
  tls(port: number): PortTls;
  /** PeerAuthentications that are for the pod. */
  readonly tlsObjects: readonly PeerTls[];
}

/** Undefined: nothing is said of the mesh. */
export function buildMesh(world: Pick<World, 'mesh' | 'namespaces' | 'pods'>): Mesh | undefined {
  const objects = world.mesh ?? [];
  if (objects.length === 0) return undefined;
  const labels = new Map(world.namespaces.map((namespace) => [namespace.name, namespace.labels]));
  const stageOf = ({ metadata }: MeshObject) => stageIn(labels.get(metadata.namespace ?? 'default'));
  // Of objects with the same name the last counts.
  const unique = [...new Map(objects.map((object) => [meshKey(object), object])).values()];
  const authorizations: Authorization[] = [];
  const peers: PeerTls[] = [];
  for (const object of unique) {
    const lowered = lowerMesh(object, stageOf(object));
    if ('rules' in lowered) authorizations.push(lowered);
    else peers.push(lowered);
  }
  authorizations.sort((a, b) => compareRefs(a.ref, b.ref));
  peers.sort((a, b) => compareRefs(a.ref, b.ref));
  const at = remembered((pod: WorldPod) => workloadOf(authorizations, peers, pod));
  let numbers: ReadonlyMap<string, number> | undefined;
  const number = (text: string): number => {
    numbers ??= assignNumbers(numbered(authorizations, peers, world.pods.map(at)));
    return numbers.get(text) ?? 0;
  };
  return {
    authorizations,
    peers,
    problems: [...authorizations, ...peers].flatMap(({ problems }) => problems),
    isMember: remembered((pod) => isMember(pod, labels.get(pod.namespace) ?? {})),
    at,
    numberOf: remembered((rule) => number(ruleKey(rule))),
    numberOfDefault: remembered((who) => number(defaultDenyText(who.closedBy))),
  };
}

/** Of each object once. */
function remembered<K extends object, V>(ask: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    const before = known.get(key);
    if (before !== undefined) return before;
    const answer = ask(key);
    known.set(key, answer);
    return answer;
  };
}

/** What is made of the mesh of the world before stays where that does. */
export function createMeshes<T>(make: (mesh: Mesh) => T): (world: World) => T | undefined {
  let last: Pick<World, 'mesh' | 'namespaces' | 'pods'> | undefined;
  let made: T | undefined;
  return (world) => {
    const isSame =
      last?.mesh === world.mesh && last?.namespaces === world.namespaces && last?.pods === world.pods;
    if (!isSame) {
      const mesh = buildMesh(world);
      made = mesh && make(mesh);
    }
    last = world;
    return made;
  };
}

/** An object that is not even of the form of its kind, which no API server stores, is for nobody. */
export function lowerMesh(object: MeshObject, inherited?: Stage): Authorization | PeerTls {
  const ref = {
    kind: object.kind,
    namespace: object.metadata.namespace ?? 'default',
    name: object.metadata.name,
  };
  try {
    return object.kind === 'AuthorizationPolicy'
      ? lowerAuthorizationPolicy(object, inherited)
      : lowerPeerAuthentication(object, inherited);
  } catch (error) {
    const message = `is not of the form of its kind: ${errorText(error)}`;
    const base = {
      ref,
      stage: 'enforce',
      scope: undefined,
      problems: [{ policy: ref, path: 'spec', message }],
    } as const;
    return { ...base, action: 'ALLOW', provider: '', rules: [] };
  }
}

const meshKey = ({ kind, metadata }: MeshObject): string =>
  `${kind} ${metadata.namespace ?? 'default'}/${metadata.name}`;

function workloadOf(all: readonly Authorization[], peers: readonly PeerTls[], pod: WorldPod): Workload {
  const mine = all.filter(({ scope }) => isInScope(scope, pod));
  const of = (isCounted: (each: { readonly stage: Stage }) => boolean): Authorizations => {
    const counted = mine.filter(isCounted);
    const list = (action: Authorization['action']) => counted.filter((each) => each.action === action);
    return {
      custom: list('CUSTOM'),
      deny: list('DENY'),
      allow: list('ALLOW'),
      audit: list('AUDIT'),
      closedBy: list('ALLOW').map(({ ref }) => ref),
      tls: tlsOf(peers.filter(isCounted), pod),
      tlsObjects: peers.filter((each) => isCounted(each) && isInScope(each.scope, pod)),
    };
  };
  const isEnforced = ({ stage }: { readonly stage: Stage }) => stage === 'enforce';
  const enforced = of(isEnforced);
  return { enforced, audited: [...mine, ...peers].every(isEnforced) ? enforced : of(() => true) };
}

/** Everything that decides, in words. */
function numbered(
  all: readonly Authorization[],
  peers: readonly PeerTls[],
  workloads: readonly Workload[],
): Set<string> {
  const texts = new Set(all.flatMap(({ rules }) => rules.map(({ ref }) => ruleKey(ref))));
  for (const { ref, ports } of peers)
    for (const field of ['mtls', ...[...ports.keys()].map((port) => `portLevelMtls[${port}]`)])
      texts.add(`${policyText(ref)} spec.${field}.mode`);
  for (const { enforced, audited } of workloads)
    for (const { closedBy } of [enforced, audited])
      if (closedBy.length > 0) texts.add(defaultDenyText(closedBy));
  return texts;
}

/** `default deny of requests: AuthorizationPolicy shop/web` */
const defaultDenyText = (policies: readonly PolicyRef[]): string =>
  `default deny of requests: ${policies.map(policyText).join(', ')}`;

export function policiesOf(who: Authorizations, action: MeshAction): readonly Authorization[] {
  if (action === 'CUSTOM') return who.custom;
  if (action === 'DENY') return who.deny;
  return action === 'ALLOW' ? who.allow : who.audit;
}

export const rulesOf = (policies: readonly Authorization[]): { policy: Authorization; rule: MeshRule }[] =>
  policies.flatMap((policy) => policy.rules.map((rule) => ({ policy, rule })));

/** As Istio's labels say it, the pod's own before its namespace's; without any: yes, every node has a proxy. */
function isMember(pod: WorldPod, namespace: Labels): boolean {
  if (pod.hostNetwork === true) return false;
  return told(pod.labels, 'sidecar.istio.io/inject') ?? told(namespace, 'istio-injection') ?? true;
}

function told(labels: Labels, injection: string): boolean | undefined {
  const mode = labels['istio.io/dataplane-mode'];
  if (mode === 'none') return false;
  if (mode === 'ambient') return true;
  const inject = labels[injection];
  if (inject === 'true' || inject === 'enabled') return true;
  return inject === 'false' || inject === 'disabled' ? false : undefined;
}
