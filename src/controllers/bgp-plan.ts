/** What a CiliumBGPClusterConfig makes of nodes: a CiliumBGPNodeConfig for each, and conditions. Pure. */
import type {
  BgpInstanceOverride,
  BgpNodeInstance,
  CiliumBgpClusterConfig,
  CiliumBgpNodeConfig,
  CiliumBgpNodeConfigOverride,
} from '../api/cilium-bgp-types.ts';
import { CILIUM_BGP_CLUSTER_CONFIG } from '../api/kinds.ts';
import { compileSelector } from '../api/selector.ts';
import type { Node } from '../api/types.ts';
import { sameJson } from '../lib/json.ts';
import type { Condition } from './conditions.ts';
import { controllerOf, controllerReference } from './owner.ts';

export interface BgpWorld {
  readonly nodes: readonly Node[];
  nodeConfig(name: string): CiliumBgpNodeConfig | undefined;
  /** Of those that this cluster configuration owns. */
  readonly owned: readonly CiliumBgpNodeConfig[];
  override(name: string): CiliumBgpNodeConfigOverride | undefined;
  hasPeerConfig(name: string): boolean;
}

export interface BgpPlan {
  readonly create: readonly CiliumBgpNodeConfig[];
  readonly update: readonly CiliumBgpNodeConfig[];
  readonly remove: readonly CiliumBgpNodeConfig[];
  readonly conditions: readonly Omit<Condition, 'lastTransitionTime'>[];
}

/** A node is of the first cluster configuration that selects it; others that select it too are told so. */
export function planBgp(config: CiliumBgpClusterConfig, world: BgpWorld): BgpPlan {
  const { nodeSelector, bgpInstances } = config.spec;
  const selects = nodeSelector ? compileSelector(nodeSelector) : () => true;
  const nodes = world.nodes.filter(({ metadata }) => selects(metadata.labels ?? {}));
  const create: CiliumBgpNodeConfig[] = [];
  const update: CiliumBgpNodeConfig[] = [];
  const others = new Set<string>();
  for (const { metadata } of nodes) {
    const before = world.nodeConfig(metadata.name);
    const owner = before && controllerOf(before.metadata);
    if (before && owner?.uid !== config.metadata.uid) {
      // One without an owner is somebody's own, and left alone.
      others.add(owner?.name ?? `CiliumBGPNodeConfig ${metadata.name}`);
      continue;
    }
    const overrides = world.override(metadata.name)?.spec.bgpInstances ?? [];
    const spec = { bgpInstances: bgpInstances.map((each) => nodeInstance(each, overrides)) };
    if (!before) create.push(nodeConfigOf(metadata.name, config, spec));
    else if (!sameJson(before.spec, spec)) update.push({ ...before, spec });
  }
  const names = new Set(nodes.map(({ metadata }) => metadata.name));
  return {
    create,
    update,
    remove: world.owned.filter(({ metadata }) => !names.has(metadata.name)),
    conditions: [
      conditionOf(
        'ConflictingClusterConfig',
        'ConflictingClusterConfigs',
        [...others].toSorted(),
        (list) => `Selecting the same node(s) with ClusterConfig(s): ${list}`,
      ),
      conditionOf(
        'MissingPeerConfigs',
        'MissingPeerConfigs',
        missingPeerConfigs(config, world),
        (list) => `Referenced CiliumBGPPeerConfig(s) are missing: ${list}`,
      ),
      conditionOf(
        'NoMatchingNode',
        'NoMatchingNode',
        nodes.length === 0 ? [''] : [],
        () => 'No node matches spec.nodeSelector',
      ),
    ],
  };
}

function conditionOf(
  type: string,
  reason: string,
  what: readonly string[],
  words: (list: string) => string,
): Omit<Condition, 'lastTransitionTime'> {
  const holds = what.length > 0;
  return {
    type: `cilium.io/${type}`,
    status: holds ? 'True' : 'False',
    reason,
    message: holds ? words(`[${what.join(' ')}]`) : '',
  };
}

function missingPeerConfigs({ spec }: CiliumBgpClusterConfig, world: BgpWorld): string[] {
  const named = spec.bgpInstances.flatMap(({ peers = [] }) =>
    peers.flatMap(({ peerConfigRef }) => (peerConfigRef ? [peerConfigRef.name] : [])),
  );
  return [...new Set(named)].filter((name) => !world.hasPeerConfig(name)).toSorted();
}

function nodeInstance(
  instance: CiliumBgpClusterConfig['spec']['bgpInstances'][number],
  overrides: readonly BgpInstanceOverride[],
): BgpNodeInstance {
  const own = overrides.find(({ name }) => name === instance.name);
  const localASN = own?.localASN ?? instance.localASN;
  const localPort = own?.localPort ?? instance.localPort;
  const peers = instance.peers?.map((peer) => {
    const localAddress = own?.peers?.find(({ name }) => name === peer.name)?.localAddress;
    return { ...peer, ...(localAddress === undefined ? {} : { localAddress }) };
  });
  return {
    name: instance.name,
    ...(localASN === undefined ? {} : { localASN }),
    ...(localPort === undefined ? {} : { localPort }),
    ...(own?.routerID === undefined ? {} : { routerID: own.routerID }),
    ...(peers ? { peers } : {}),
  };
}

const nodeConfigOf = (
  name: string,
  config: CiliumBgpClusterConfig,
  spec: CiliumBgpNodeConfig['spec'],
): CiliumBgpNodeConfig => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumBGPNodeConfig',
  metadata: { name, ownerReferences: [controllerReference(CILIUM_BGP_CLUSTER_CONFIG, config.metadata)] },
  spec,
});
