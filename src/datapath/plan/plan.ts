/**
 * What the data path of one node should be, out of the objects that say so. Pure and incremental: an object is
 * put in, `update` gives the entries which that changed. Law: any sequence of updates leaves the tables that a
 * plan made from the last objects would have.
 */
import { REGION, ZONE } from '../../api/labels.ts';
import type { EndpointSlice, Node, Service, UplinkProtection } from '../../api/types.ts';
import { canonicalAddress, formatCidr, tryParseAddress, tryParseCidr } from '../../lib/ip.ts';
import { sameJson } from '../../lib/json.ts';
import type { PolicyTables } from '../../policy/tables.ts';
import { type HostPortPod, hostPortFrontends, hostPortProblems } from './host-ports.ts';
import { createKeyedTables } from './keyed.ts';
import { createPairs } from './pairs.ts';
import { policyChanges } from './policy-changes.ts';
import {
  backendProblems,
  type PlannedBackend,
  type Problem,
  protectionProblems,
  serviceProblems,
} from './problems.ts';
import { protectionOf } from './protection.ts';
import { frontendsOf, hasHints, serviceKey } from './services.ts';
import {
  type Change,
  frontendKey,
  type LocalPod,
  type PlanState,
  type RemoteNode,
  SETTINGS_KEY,
  type Settings,
} from './tables.ts';

export interface Plan {
  setSettings(settings: Settings): void;
  setService(service: Service): void;
  /** `key` is `namespace/name`, here and in `setSlices`. */
  removeService(key: string): void;
  /** All slices of a Service; they may come before it. Empty or undefined: none. */
  setSlices(key: string, slices: readonly EndpointSlice[] | undefined): void;
  /** Whether `update` is needed: a node tells that it lives more often than anything of it changes. */
  setNode(node: Node): boolean;
  removeNode(name: string): void;
  /** Blocks of pods' addresses that a node has beside its first ones. */
  setNodeBlocks(name: string, cidrs: readonly string[]): void;
  /** All pods that have a link on this node now. */
  setLocalPods(pods: readonly LocalPod[]): void;
  /** All that have ports of this node. */
  setHostPorts(pods: readonly HostPortPod[]): void;
  setPolicy(tables: PolicyTables): void;
  setProtection(object: UplinkProtection): void;
  removeProtection(name: string): void;
  /**
   * Changes since the last call, of one object (`service/ns/name`, `node/x`, `pods`, `host-ports`, `policy`, `protection`, `settings`) or
   * of all that were touched.
   */
  update(object?: string): Change[];
  /** The tables as of the last `update`. */
  readonly state: PlanState;
  /** What objects say wrongly, and what they ask for that the backend cannot do. */
  problems(backend: PlannedBackend): Problem[];
}

/** @param options.node the node that this plan is for: other nodes become routes, other nodes' pods nothing. */
export function createPlan(options: { node: string }): Plan {
  const services = new Map<string, Service>();
  const slices = new Map<string, readonly EndpointSlice[]>();
  const hinted = new Set<string>();
  const nodes = new Map<string, RemoteNode>();
  const blocks = new Map<string, readonly string[]>();
  /** Region by node name, of all nodes that have one. */
  const regions = new Map<string, string>();
  const protections = new Map<string, UplinkProtection>();
  let labels: Readonly<Record<string, string>> = {};
  let zone = '';
  let settings: Settings | undefined;
  let pods: readonly LocalPod[] = [];
  let hostPorts: readonly HostPortPod[] = [];
  let policy: PolicyTables | undefined;
  /** The policy that the tables hold. */
  let planned: PolicyTables | undefined;
  const pairs = createPairs();
  const tables = createKeyedTables();
  const dirty = new Set<string>();

  function entriesOf(object: string): Change[] {
    const [kind, ...rest] = object.split('/');
    const name = rest.join('/');
    if (kind === 'service') return serviceEntries(name);
    if (kind === 'node') return nodeEntries(nodes.get(name), blocks.get(name));
    if (kind === 'pods') return podEntries(pods);
    if (kind === 'host-ports')
      return hostPortFrontends(hostPorts, settings).map((value) => ({
        table: 'services',
        key: frontendKey(value),
        value,
      }));
    if (kind === 'protection') return protectionEntries();
    return settings ? [{ table: 'settings', key: SETTINGS_KEY, value: settings }] : [];
  }

  function serviceEntries(name: string): Change[] {
    const service = services.get(name);
    if (!service) return [];
    const { node } = options;
    const place = { node, zone, region: regions.get(node) ?? '', regionOf: (of: string) => regions.get(of) };
    const view = { service, slices: slices.get(name) ?? [], place, settings };
    return frontendsOf(view).map((value) => ({ table: 'services', key: frontendKey(value), value }));
  }

  function protectionEntries(): Change[] {
    const value = protectionOf(protections.values(), labels);
    return value ? [{ table: 'protection', key: SETTINGS_KEY, value }] : [];
  }

  function labelled(name: string, next: Readonly<Record<string, string>>): void {
    if (name !== options.node || sameJson(labels, next)) return;
    labels = next;
    dirty.add('protection');
  }

  /** Who is near depends on it; a node is written every few seconds, its place hardly ever. */
  function moved(name: string, labels: Readonly<Record<string, string>>): void {
    const region = labels[REGION] ?? '';
    const ownZone = name === options.node ? (labels[ZONE] ?? '') : zone;
    if (region === (regions.get(name) ?? '') && ownZone === zone) return;
    zone = ownZone;
    if (region === '') regions.delete(name);
    else regions.set(name, region);
    for (const key of hinted) dirty.add(`service/${key}`);
  }

  /** Of tens of thousands of entries few change: they are found by looking, and nothing else is made. */
  function updatePolicy(): Change[] {
    if (!policy || policy === planned) return [];
    const changes = pairs.add(policyChanges(planned, policy, options.node), policy);
    planned = policy;
    return tables.patch(changes);
  }

  function updateOne(object: string): Change[] {
    dirty.delete(object);
    if (object === 'policy') return updatePolicy();
    return tables.replace(object, entriesOf(object));
  }

  return {
    setSettings(next) {
      if (sameJson(settings, next)) return;
      settings = next;
      dirty.add('settings');
      if (hostPorts.length > 0) dirty.add('host-ports');
      for (const key of services.keys()) dirty.add(`service/${key}`);
    },
    setService(service) {
      const key = serviceKey(service);
      services.set(key, service);
      dirty.add(`service/${key}`);
    },
    removeService(key) {
      services.delete(key);
      dirty.add(`service/${key}`);
    },
    setSlices(key, list) {
      if (list?.length) slices.set(key, list);
      else slices.delete(key);
      if (hasHints(list ?? [])) hinted.add(key);
      else hinted.delete(key);
      dirty.add(`service/${key}`);
    },
    setNode(node) {
      moved(node.metadata.name, node.metadata.labels ?? {});
      labelled(node.metadata.name, node.metadata.labels ?? {});
      const remote = remoteNode(node);
      const isWanted = remote.node !== options.node && remote.addresses.length > 0;
      if (!sameJson(nodes.get(remote.node), isWanted ? remote : undefined)) {
        if (isWanted) nodes.set(remote.node, remote);
        else nodes.delete(remote.node);
        dirty.add(`node/${remote.node}`);
      }
      return dirty.size > 0;
    },
    removeNode(name) {
      moved(name, {});
      nodes.delete(name);
      dirty.add(`node/${name}`);
    },
    setNodeBlocks(name, cidrs) {
      if (cidrs.length > 0) blocks.set(name, cidrs);
      else blocks.delete(name);
      dirty.add(`node/${name}`);
    },
    setLocalPods(next) {
      // Called with every change of anything, and hardly ever another list.
      if (sameJson(pods, next)) return;
      pods = next;
      dirty.add('pods');
    },
    setHostPorts(next) {
      if (sameJson(hostPorts, next)) return;
      hostPorts = next;
      dirty.add('host-ports');
    },
    setPolicy(next) {
      policy = next;
      dirty.add('policy');
    },
    setProtection(object) {
      protections.set(object.metadata.name, object);
      dirty.add('protection');
    },
    removeProtection(name) {
      protections.delete(name);
      dirty.add('protection');
    },
    update(object) {
      if (object !== undefined) return updateOne(object);
      return [...dirty].flatMap(updateOne);
    },
    state: tables.state,
    problems: (backend) => [
      ...[...services.values()].flatMap((service) => serviceProblems(service, settings)),
      ...hostPortProblems(hostPorts, settings),
      ...backendProblems(tables.state.services.values(), backend),
      ...protectionProblems(tables.state.protection.get(SETTINGS_KEY), backend),
    ],
  };
}

/** A node without any range is on no way. */
function nodeEntries(node: RemoteNode | undefined, blocks: readonly string[] = []): Change[] {
  if (!node) return [];
  const podCidrs = byFamily([...new Set([...node.podCidrs, ...blocks])]);
  return podCidrs.length > 0 ? [{ table: 'routes', key: node.node, value: { ...node, podCidrs } }] : [];
}

function podEntries(pods: readonly LocalPod[]): Change[] {
  return pods.map((pod) => ({
    table: 'pods',
    key: `${pod.namespace}/${pod.name}`,
    value: { ...pod, addresses: pod.addresses.map(canonicalAddress) },
  }));
}

function remoteNode(node: Node): RemoteNode {
  const cidrs = node.spec?.podCIDRs?.length ? node.spec.podCIDRs : [node.spec?.podCIDR ?? ''];
  return {
    node: node.metadata.name,
    addresses: byFamily(
      (node.status?.addresses ?? [])
        .filter((each) => each.type === 'InternalIP' && tryParseAddress(each.address))
        .map((each) => canonicalAddress(each.address)),
    ),
    podCidrs: byFamily(
      cidrs.flatMap((text) => {
        const cidr = tryParseCidr(text);
        return cidr ? [formatCidr(cidr)] : [];
      }),
    ),
  };
}

const byFamily = (texts: readonly string[]): string[] => [
  ...texts.filter((text) => !text.includes(':')),
  ...texts.filter((text) => text.includes(':')),
];
