/** Cilium's BGP control plane, the part that is not a node's: what each node speaks, and what is wrong with it. */
import type { CiliumBgpNodeConfig } from '../api/cilium-bgp-types.ts';
import { BGP_SECRETS } from '../api/cilium-bgp-words.ts';
import {
  CILIUM_BGP_CLUSTER_CONFIG,
  CILIUM_BGP_NODE_CONFIG,
  CILIUM_BGP_PEER_CONFIG,
  type Kind,
} from '../api/kinds.ts';
import type { ObjectMeta } from '../api/types.ts';
import { isAlreadyExists, isNotFound } from '../client/api-error.ts';
import { sameJson } from '../lib/json.ts';
import { planBgp } from './bgp-plan.ts';
import type { Condition } from './conditions.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced, timestamp } from './loop.ts';
import { controllerOf } from './owner.ts';
import { type ObservedCondition, withObserved } from './policy-status-plan.ts';

const NAME = 'bgp';
/** Keys of the queue: a cluster configuration, or a peer configuration by its name after this. */
const PEER = 'peer ';

interface WithConditions {
  metadata: ObjectMeta;
  status?: { conditions?: unknown };
}

export function createBgpController(deps: ControllerDeps): Controller {
  const { client, informers, clock } = deps;
  const { nodes, secrets, bgpClusterConfigs, bgpNodeConfigs, bgpNodeConfigOverrides, bgpPeerConfigs } =
    informers;
  const owned = bgpNodeConfigs.byIndex('bgp-owner', ({ metadata }) => {
    const uid = controllerOf(metadata)?.uid;
    return uid === undefined ? [] : [uid];
  });
  // One at a time: of two that select a node the second must see what the first has made.
  const queue = queueFor(deps, NAME, reconcile, { concurrency: 1 });

  const reconcilePeer = async (name: string): Promise<void> => {
    const config = bgpPeerConfigs.get(name);
    if (!config || config.metadata.deletionTimestamp) return;
    const secret = config.spec.authSecretRef;
    const isMissing = secret !== undefined && secrets.get(`${BGP_SECRETS}/${secret}`) === undefined;
    const condition = {
      type: 'cilium.io/MissingAuthSecret',
      status: isMissing ? 'True' : 'False',
      reason: 'MissingAuthSecret',
      message: isMissing ? `Referenced Auth Secret "${secret}" is missing in ${BGP_SECRETS}` : '',
    };
    await writeConditions(CILIUM_BGP_PEER_CONFIG, bgpPeerConfigs, config, [condition]);
  };

  async function reconcile(key: string): Promise<void> {
    if (key.startsWith(PEER)) return reconcilePeer(key.slice(PEER.length));
    const config = bgpClusterConfigs.get(key);
    if (!config || config.metadata.deletionTimestamp) return;
    const plan = planBgp(config, {
      nodes: nodes.list(),
      nodeConfig: (name) => bgpNodeConfigs.get(name),
      owned: owned(config.metadata.uid ?? ''),
      override: (name) => bgpNodeConfigOverrides.get(name),
      hasPeerConfig: (name) => bgpPeerConfigs.get(name) !== undefined,
    });
    for (const each of plan.create) await create(each, key);
    for (const each of plan.update)
      await client.update(CILIUM_BGP_NODE_CONFIG, each).then(bgpNodeConfigs.remember, unlessGone);
    for (const { metadata } of plan.remove)
      await client.delete(CILIUM_BGP_NODE_CONFIG, metadata.name).catch(unlessGone);
    await writeConditions(CILIUM_BGP_CLUSTER_CONFIG, bgpClusterConfigs, config, plan.conditions);
  }

  /** Somebody else may have made it in this moment: then it is seen with the next look. */
  async function create(config: CiliumBgpNodeConfig, key: string): Promise<void> {
    await client.create(CILIUM_BGP_NODE_CONFIG, config).then(bgpNodeConfigs.remember, (error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
      queue.addAfter(key, 1000);
    });
  }

  async function writeConditions<T extends WithConditions>(
    kind: Kind<T>,
    informer: { remember(object: T): void },
    object: T,
    wanted: readonly Omit<Condition, 'lastTransitionTime'>[],
  ): Promise<void> {
    const before = (object.status?.conditions ?? []) as readonly ObservedCondition[];
    const at = { generation: object.metadata.generation, now: timestamp(clock.now()) };
    let conditions = before;
    for (const each of wanted) conditions = withObserved(conditions, each, at);
    if (sameJson(conditions, before)) return;
    const written = { ...object, status: { ...object.status, conditions } };
    await client.updateStatus(kind, written).then((stored) => informer.remember(stored), unlessGone);
  }

  const addAll = () => {
    for (const { metadata } of bgpClusterConfigs.list()) queue.add(metadata.name);
  };
  bgpClusterConfigs.onChange((key, now) => {
    if (now) queue.add(key);
    else addAll();
  });
  nodes.onChange((_key, now, before) => {
    if (!sameJson(now?.metadata.labels, before?.metadata.labels) || !now || !before) addAll();
  });
  bgpNodeConfigs.onChange((_key, now, before) => {
    if (
      !now ||
      !before ||
      !sameJson([now.spec, now.metadata.ownerReferences], [before.spec, before.metadata.ownerReferences])
    )
      addAll();
  });
  bgpNodeConfigOverrides.onChange(addAll);
  bgpPeerConfigs.onChange((key, now, before) => {
    if (now) queue.add(`${PEER}${key}`);
    if (!now || !before) addAll();
  });
  secrets.onChange((key) => {
    if (!key.startsWith(`${BGP_SECRETS}/`)) return;
    for (const { metadata, spec } of bgpPeerConfigs.list())
      if (spec.authSecretRef === key.slice(BGP_SECRETS.length + 1)) queue.add(`${PEER}${metadata.name}`);
  });
  const needed = [nodes, secrets, bgpClusterConfigs, bgpNodeConfigs, bgpNodeConfigOverrides, bgpPeerConfigs];
  return { name: `${NAME}-controller`, run: (signal) => runWhenSynced(queue, needed, signal) };
}

function unlessGone(error: unknown): void {
  if (!isNotFound(error)) throw error;
}
