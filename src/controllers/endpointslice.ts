/** EndpointSlices: where each service's pods can be reached. */
import { ENDPOINT_SLICE } from '../api/kinds.ts';
import { SERVICE_NAME, SLICE_MANAGER, serviceOf, WEIGHT, ZONE } from '../api/labels.ts';
import { compileServiceSelector } from '../api/selector.ts';
import type { EndpointSlice, Pod } from '../api/types.ts';
import { isNotFound } from '../client/api-error.ts';
import { keyOf } from '../client/informer-cache.ts';
import { sameJson } from '../lib/json.ts';
import { mapLimited } from '../lib/parallel.ts';
import { desiredGroups, isManaged } from './endpointslice-desired.ts';
import { MANAGER, type SlicePlan, planSlices } from './endpointslice-plan.ts';
import { byNamespace, namespaceEnds } from './informers.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced } from './loop.ts';
import { generatedName } from './names.ts';

const NAME = 'endpointslice-controller';
/** Slices of one service written at once. */
const PARALLEL = 8;

export function createEndpointSliceController(deps: ControllerDeps): Controller {
  const { client, informers } = deps;
  const { services, pods, slices, nodes } = informers;
  const podsIn = byNamespace(pods);
  const servicesIn = byNamespace(services);
  const slicesOf = slices.byIndex('managed-service', (slice) =>
    slice.metadata.labels?.[SLICE_MANAGER] === MANAGER ? [serviceOf(slice)] : [],
  );
  const queue = queueFor(deps, 'endpointslice', reconcile, { concurrency: 8 });

  async function reconcile(key: string): Promise<void> {
    const service = services.get(key);
    const existing = slicesOf(key);
    if (!service) return carryOut({ create: [], update: [], remove: [...existing] });
    const { namespace, deletionTimestamp } = service.metadata;
    if (!isManaged(service) || deletionTimestamp || namespaceEnds(informers, namespace)) return;
    const selects = compileServiceSelector(service.spec?.selector);
    const groups = desiredGroups({
      service,
      pods: podsIn(namespace ?? '').filter((pod) => selects(pod.metadata.labels)),
      nodeOf: nodes.get,
    });
    await carryOut(planSlices(service, groups, existing));
  }

  /** New places first, old ones go last: no endpoint is missing in between. */
  async function carryOut(plan: SlicePlan): Promise<void> {
    await mapLimited(plan.create, PARALLEL, async (slice) => {
      const name = generatedName(slice.metadata.generateName ?? '');
      const metadata = { ...slice.metadata, name };
      slices.remember(await client.create(ENDPOINT_SLICE, { ...slice, metadata }));
    });
    await mapLimited(plan.update, PARALLEL, async (slice) => {
      slices.remember(await client.update(ENDPOINT_SLICE, slice));
    });
    await mapLimited(plan.remove, PARALLEL, remove);
  }

  async function remove({ metadata }: EndpointSlice): Promise<void> {
    const { name, namespace, uid } = metadata;
    try {
      await client.delete(ENDPOINT_SLICE, name, namespace, { preconditions: { uid } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  function podChanged(now: Pod | undefined, before: Pod | undefined): void {
    if (now && before && sameJson(relevant(now), relevant(before))) return;
    const { namespace = '' } = (now ?? before)!.metadata;
    for (const service of servicesIn(namespace)) {
      const selects = compileServiceSelector(service.spec?.selector);
      if ([now, before].some((pod) => pod && selects(pod.metadata.labels)))
        queue.add(keyOf(service.metadata));
    }
  }

  services.onChange((key) => queue.add(key));
  pods.onChange((_key, now, before) => podChanged(now, before));
  slices.onChange((_key, now, before) => {
    const slice = now ?? before;
    if (slice?.metadata.labels?.[SERVICE_NAME]) queue.add(serviceOf(slice));
  });
  nodes.onChange((_key, now, before) => {
    if (zoneOf(now) !== zoneOf(before))
      for (const service of services.list()) queue.add(keyOf(service.metadata));
  });

  return {
    name: NAME,
    run: (signal) => runWhenSynced(queue, [services, pods, slices, nodes, informers.namespaces], signal),
  };
}

const zoneOf = (node: { metadata: { labels?: Record<string, string> } } | undefined): string | undefined =>
  node?.metadata.labels?.[ZONE];

/** What of a pod an endpoint is made of; its probes and counters change more often. */
const relevant = ({ metadata, spec, status }: Pod): unknown => [
  metadata.uid,
  metadata.labels,
  metadata.deletionTimestamp,
  metadata.annotations?.[WEIGHT],
  spec,
  status?.phase,
  status?.podIPs,
  status?.podIP,
  status?.conditions?.find((one) => one.type === 'Ready')?.status,
];
