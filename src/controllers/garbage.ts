/**
 * Deletes what has lost all of its owners (metadata.ownerReferences), and lets go of what was deleted with
 * `Foreground` or `Orphan`. Owners that the copies do not know are asked for before anything is deleted.
 */
import * as kinds from '../api/kinds.ts';
import type { ObjectMeta } from '../api/types.ts';
import { isConflict, isNotFound } from '../client/api-error.ts';
import { keyOf, splitKey } from '../client/informer-cache.ts';
import type { Informer } from '../client/informer.ts';
import { type OwnerState, fateOf } from './garbage-plan.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced } from './loop.ts';
import type { OwnerReference } from './owner.ts';

const NAME = 'garbage-collector';
const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';
/** Owners remembered to be gone, so that each of a thousand dependants does not ask. */
const MAX_ABSENT = 10_000;

interface Owned {
  metadata: ObjectMeta;
}

/** One kind as the collector sees it. */
interface Watched {
  kind: kinds.Kind;
  informer: Pick<Informer<unknown, Owned>, 'get' | 'byIndex' | 'onChange' | 'synced'>;
}

type AnyInformer = Watched['informer'] & { kind: kinds.Kind };

export function createGarbageCollector(deps: ControllerDeps): Controller {
  const { client, informers } = deps;
  const { namespaces, nodes, pods, services, slices, deployments, replicaSets } = informers;
  const { serviceAccounts, configMaps, secrets, policies } = informers;
  const { adminPolicies, baselinePolicies, clusterPolicies } = informers;
  const { ciliumPolicies, clusterwidePolicies, cidrGroups } = informers;
  const { calicoPolicies, globalPolicies, tiers, networkSets, globalNetworkSets } = informers;
  const { bgpClusterConfigs, bgpNodeConfigs } = informers;
  const watched: Watched[] = [
    namespaces,
    nodes,
    pods,
    services,
    slices,
    deployments,
    replicaSets,
    serviceAccounts,
    configMaps,
    secrets,
    policies,
    adminPolicies,
    baselinePolicies,
    clusterPolicies,
    ciliumPolicies,
    clusterwidePolicies,
    cidrGroups,
    calicoPolicies,
    globalPolicies,
    tiers,
    networkSets,
    globalNetworkSets,
    bgpClusterConfigs,
    bgpNodeConfigs,
  ].map((informer) => ({ kind: informer.kind, informer: informer as unknown as AnyInformer }));
  const byKind = new Map(watched.map((one) => [groupKind(one.kind), one] as const));
  const dependantsOf = watched.map(({ kind, informer }) => ({
    kind,
    lookup: informer.byIndex('owner', ({ metadata }) =>
      (metadata.ownerReferences ?? []).map(({ uid }) => uid),
    ),
  }));
  /** Uids that were found to be gone; they never come back. */
  const absent = new Set<string>();
  const queue = queueFor(deps, 'garbage', reconcile, { concurrency: 8 });
  const add = (kind: kinds.Kind, metadata: ObjectMeta) => queue.add(`${groupKind(kind)} ${keyOf(metadata)}`);

  async function reconcile(entry: string): Promise<void> {
    const space = entry.indexOf(' ');
    const one = byKind.get(entry.slice(0, space));
    const object = one?.informer.get(entry.slice(space + 1));
    if (!one || !object) return;
    const { metadata } = object;
    if (metadata.deletionTimestamp) await letGo(one.kind, metadata);
    else await judge(one.kind, metadata);
  }

  async function judge(kind: kinds.Kind, metadata: ObjectMeta): Promise<void> {
    const references = metadata.ownerReferences ?? [];
    const states = new Map<OwnerReference, OwnerState>();
    for (const reference of references) states.set(reference, await stateOf(reference, metadata.namespace));
    const fate = fateOf(references, (reference) => states.get(reference) ?? 'present');
    const { name, namespace, uid, resourceVersion } = metadata;
    try {
      if (fate.do === 'delete')
        await client.delete(kind, name, namespace, {
          preconditions: { uid, resourceVersion },
          propagationPolicy: 'Background',
        });
      else if (fate.do === 'drop') {
        const ownerReferences = references.filter((one) => !fate.references.includes(one));
        await client.patch(kind, name, namespace, { metadata: { uid, resourceVersion, ownerReferences } });
      }
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async function stateOf(reference: OwnerReference, namespace: string | undefined): Promise<OwnerState> {
    const one = byKind.get(ownerKind(reference));
    // A kind of somebody else: theirs to say.
    if (!one || kinds.apiVersionOf(one.kind) !== reference.apiVersion) return 'present';
    const where = one.kind.namespaced ? namespace : undefined;
    const known = one.informer.get(keyOf({ name: reference.name, namespace: where }));
    if (known?.metadata.uid === reference.uid) return stateFrom(known.metadata);
    if (absent.has(reference.uid)) return 'absent';
    const live = (await client.get(one.kind, reference.name, where).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
      return undefined;
    })) as Owned | undefined;
    if (live?.metadata.uid === reference.uid) return stateFrom(live.metadata);
    if (absent.size >= MAX_ABSENT) absent.clear();
    absent.add(reference.uid);
    return 'absent';
  }

  /** Finalizers that the collector serves. */
  async function letGo(kind: kinds.Kind, metadata: ObjectMeta): Promise<void> {
    const finalizers = metadata.finalizers ?? [];
    const { uid = '', name, namespace, resourceVersion } = metadata;
    const served = finalizers.find((one) => one === FOREGROUND || one === ORPHAN);
    if (!served) return;
    const dependants = dependantsOf.flatMap(({ kind, lookup }) =>
      lookup(uid).map((object) => ({ kind, object })),
    );
    if (served === ORPHAN)
      for (const { kind, object } of dependants) await disown(kind, object.metadata, uid);
    else {
      for (const { kind, object } of dependants) add(kind, object.metadata);
      if (dependants.some(({ object }) => blocks(object.metadata, uid))) return;
    }
    const rest = finalizers.filter((one) => one !== served);
    await client
      .patch(kind, name, namespace, { metadata: { uid, resourceVersion, finalizers: rest } })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  }

  async function disown(kind: kinds.Kind, metadata: ObjectMeta, owner: string): Promise<void> {
    const ownerReferences = (metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner);
    const patch = { metadata: { uid: metadata.uid, ownerReferences } };
    await client.patch(kind, metadata.name, metadata.namespace, patch).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    });
  }

  for (const { kind, informer } of watched)
    informer.onChange((key, now, before) => {
      const references = (now ?? before)?.metadata.ownerReferences ?? [];
      if (now && (references.length > 0 || now.metadata.deletionTimestamp))
        queue.add(`${groupKind(kind)} ${key}`);
      const gone = before && now?.metadata.uid !== before.metadata.uid;
      const uid = gone || now?.metadata.deletionTimestamp ? before?.metadata.uid : undefined;
      if (uid)
        for (const { kind, lookup } of dependantsOf)
          for (const { metadata } of lookup(uid)) add(kind, metadata);
      // An owner that waits for its dependants.
      if (!now)
        for (const reference of references) {
          const owner = ownerKind(reference);
          const namespace = byKind.get(owner)?.kind.namespaced ? splitKey(key).namespace : undefined;
          queue.add(`${owner} ${keyOf({ name: reference.name, namespace })}`);
        }
    });

  return {
    name: NAME,
    run: (signal) =>
      runWhenSynced(
        queue,
        watched.map(({ informer }) => informer),
        signal,
      ),
  };
}

/** Kinds of two groups may have one name. */
const groupKind = ({ group, kind }: kinds.Kind): string => `${kind}.${group}`;

const ownerKind = ({ apiVersion, kind }: OwnerReference): string =>
  `${kind}.${apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : ''}`;

const stateFrom = ({ deletionTimestamp, finalizers }: ObjectMeta): OwnerState =>
  deletionTimestamp && finalizers?.includes(FOREGROUND) ? 'waits-for-dependants' : 'present';

const blocks = ({ ownerReferences }: ObjectMeta, owner: string): boolean =>
  ownerReferences?.some(({ uid, blockOwnerDeletion }) => uid === owner && blockOwnerDeletion) === true;
