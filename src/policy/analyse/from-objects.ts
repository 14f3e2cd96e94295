/** Kubernetes objects → what whole-world questions are asked of: also pods that only a workload's template tells of. */
import type { KubeObject, Namespace, Node, Pod, ServiceAccount } from '../../api/types.ts';
import type { MeshObject } from '../mesh/objects.ts';
import type { PolicyObject } from '../objects.ts';
import { worldNamespace, worldNode, worldPod, worldServiceAccount } from '../from-objects.ts';
import { isOpener } from '../openings/kinds.ts';
import { isSurrounding, surroundingsOf } from '../surroundings.ts';
import { podKey, type WorldPod } from '../world.ts';
import { createEstate, type Estate, type Owner } from './estate.ts';
import { groupOf, isMesh, isPolicy, isWorkloadTemplate, podsOwner, templateOf } from './object-kinds.ts';

export interface ReadEstate {
  readonly estate: Estate;
  /** Services, Ingresses, Gateways and their routes: what opens workloads to the outside. */
  readonly openers: readonly KubeObject[];
  /** `group/Kind`, or `Kind` of the core group → how many objects of it say nothing here. */
  readonly skipped: ReadonlyMap<string, number>;
}

/** Of objects with one kind, namespace and name the last counts. Objects without a namespace are in `default`. */
export function estateFromObjects(objects: readonly KubeObject[]): ReadEstate {
  const skipped = new Map<string, number>();
  const namespaces: Namespace[] = [];
  const nodes: Node[] = [];
  const policies: PolicyObject[] = [];
  const mesh: MeshObject[] = [];
  const pods: Pod[] = [];
  const templates: KubeObject[] = [];
  const openers: KubeObject[] = [];
  const accounts: ServiceAccount[] = [];
  const others: KubeObject[] = [];
  for (const object of new Map(objects.map((each) => [objectId(each), each])).values()) {
    const core = groupOf(object) === '';
    if (isPolicy(object)) policies.push(object as unknown as PolicyObject);
    else if (isMesh(object)) mesh.push(object as unknown as MeshObject);
    else if (core && object.kind === 'Namespace') namespaces.push(object as Namespace);
    else if (core && object.kind === 'Node') nodes.push(object as Node);
    else if (core && object.kind === 'Pod') pods.push(object as Pod);
    else if (core && object.kind === 'ServiceAccount') accounts.push(object as ServiceAccount);
    else if (isSurrounding(object)) others.push(object);
    else if (isWorkloadTemplate(object)) templates.push(object);
    else if (isOpener(object)) openers.push(object);
    else {
      const kind = core ? object.kind : `${groupOf(object)}/${object.kind}`;
      skipped.set(kind, (skipped.get(kind) ?? 0) + 1);
    }
  }
  const { found, owners } = allPods(pods, templates);
  const known = namespaces.map(worldNamespace);
  const world = {
    pods: found,
    namespaces: known,
    serviceAccounts: accounts.map(worldServiceAccount),
    surroundings: surroundingsOf([...others, ...openers], known),
    nodes: nodes.map(worldNode),
    policies,
    mesh,
  };
  return { estate: createEstate(world, (pod) => owners.get(podKey(pod))), openers, skipped };
}

/** `group/Kind namespace/name` */
export const objectId = (object: KubeObject): string =>
  `${groupOf(object)}/${object.kind} ${namespaceOf(object)}/${object.metadata.name}`;

const namespaceOf = ({ metadata }: KubeObject): string => metadata.namespace ?? 'default';

function allPods(pods: readonly Pod[], templates: readonly KubeObject[]) {
  const byId = new Map(templates.map((object) => [ownId(object), object]));
  const hasPods = ownersWithPods([...pods, ...templates], byId);
  const owners = new Map<string, Owner>();
  const found = new Map<string, WorldPod>();
  for (const object of pods) {
    const pod = worldPod(withAddresses(object));
    if (!pod) continue;
    const placed = place({ ...pod, namespace: namespaceOf(object) });
    found.set(podKey(placed), placed);
    const owner = podsOwner(object);
    const template = owner && byId.get(`${placed.namespace} ${owner.kind} ${owner.name}`);
    if (owner) owners.set(podKey(placed), { ...owner, selector: template && selectorOf(template) });
  }
  for (const object of templates) {
    if (hasPods.has(ownId(object))) continue;
    const pod = templatePod(object, found);
    found.set(podKey(pod), pod);
    owners.set(podKey(pod), { kind: object.kind, name: object.metadata.name, selector: selectorOf(object) });
  }
  return { found: [...found.values()], owners };
}

const ownId = (object: KubeObject): string => `${namespaceOf(object)} ${object.kind} ${object.metadata.name}`;

/** Workloads of whose pods, or of whose workloads, there are objects: their template need not stand for them. */
function ownersWithPods(
  objects: readonly (Pod | KubeObject)[],
  byId: ReadonlyMap<string, KubeObject>,
): Set<string> {
  const covered = new Set<string>();
  for (const start of objects) {
    const isPod = start.kind === 'Pod';
    let object: KubeObject | undefined = start;
    // A chain of owners ends after three (CronJob, Job, Pod), whatever a file says.
    for (let depth = 0; object && depth < 4; depth++) {
      const owner = podsOwner(object);
      const id: string | undefined = owner && `${namespaceOf(object)} ${owner.kind} ${owner.name}`;
      const next: KubeObject | undefined = id === undefined ? undefined : byId.get(id);
      // A ReplicaSet of a Deployment has no pods of its own in a file: the Deployment stands for both.
      if (isPod && id !== undefined) covered.add(id);
      else if (next && depth === 0) covered.add(ownId(object));
      object = next;
    }
  }
  return covered;
}

function templatePod(object: KubeObject, taken: ReadonlyMap<string, unknown>): WorldPod {
  const namespace = namespaceOf(object);
  let { name } = object.metadata;
  if (taken.has(podKey({ namespace, name }))) name = `${name}-${object.kind.toLowerCase()}`;
  const template = templateOf(object) ?? {};
  const pod = worldPod({
    metadata: { namespace, name, labels: template.metadata?.labels ?? {} },
    spec: template.spec,
  } as Pod);
  return place(pod!);
}

/** A pod on a host's network is its node, and no two nodes are known to be one. */
const place = (pod: WorldPod): WorldPod =>
  pod.hostNetwork === true && pod.node === '' ? { ...pod, node: `the node of ${podKey(pod)}` } : pod;

function withAddresses(pod: Pod): Pod {
  const { podIP, podIPs } = pod.status ?? {};
  return podIP && !podIPs ? { ...pod, status: { ...pod.status, podIPs: [{ ip: podIP }] } } : pod;
}

function selectorOf(object: KubeObject): Record<string, string> | undefined {
  const { selector } = (object as { spec?: { selector?: Record<string, unknown> } }).spec ?? {};
  if (!selector) return undefined;
  // A ReplicationController has a plain map.
  if (object.kind === 'ReplicationController') return selector as Record<string, string>;
  if (Array.isArray(selector['matchExpressions']) && selector['matchExpressions'].length > 0)
    return undefined;
  return selector['matchLabels'] as Record<string, string> | undefined;
}
