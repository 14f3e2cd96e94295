/**
 * The fewest writes that bring a service's slices to the endpoints it has. Pure.
 *
 * A slice takes endpoints until an event about it would be about `TARGET_BYTES` long, not until it has the 100
 * of Kubernetes: every change of one endpoint sends the whole slice to every watcher, once for each family.
 */
import { ENDPOINT_SLICE, SERVICE } from '../api/kinds.ts';
import { SERVICE_NAME, SLICE_MANAGER, WEIGHTS } from '../api/labels.ts';
import type { EndpointSlice, ObjectMeta, Service } from '../api/types.ts';
import { sameJson } from '../lib/json.ts';
import { type Endpoint, type EndpointGroup, endpointKey, groupKey } from './endpointslice-desired.ts';
import { controllerReference } from './owner.ts';

export const MAX_ENDPOINTS = 100;
/** Both families' events of a dual-stack service together stay below 8 kB. */
const TARGET_BYTES = 3600;

export const MANAGER = 'endpointslice-controller.k8s.io';
const HEADLESS = 'service.kubernetes.io/headless';

export interface SlicePlan {
  /** Without names: the writer draws them. */
  create: EndpointSlice[];
  update: EndpointSlice[];
  remove: EndpointSlice[];
}

interface Draft {
  /** Undefined: to be created. */
  before: EndpointSlice | undefined;
  endpoints: Endpoint[];
  bytes: number;
  changed: boolean;
}

/** `existing`: the service's slices that carry our label. */
export function planSlices(
  service: Service,
  groups: ReadonlyMap<string, EndpointGroup>,
  existing: readonly EndpointSlice[],
): SlicePlan {
  const plan: SlicePlan = { create: [], update: [], remove: [] };
  const labels = labelsFor(service);
  const owner = [controllerReference(SERVICE, service.metadata)];
  const live = existing.filter((slice) => slice.metadata.deletionTimestamp === undefined);
  const byGroup = Map.groupBy(live, (slice) => groupKey(slice.addressType, slice.ports));
  for (const [key, slices] of byGroup) if (!groups.has(key)) plan.remove.push(...slices);
  for (const [key, group] of groups) {
    const empty = emptySlice(service, group, labels, owner);
    const weigh = (endpoints: readonly Endpoint[]) => weightsText(endpoints, group.weights);
    for (const draft of fillGroup(group, byGroup.get(key) ?? [], JSON.stringify(empty).length)) {
      const { before, endpoints, changed } = draft;
      const weights = weigh(endpoints);
      if (!before) plan.create.push({ ...empty, metadata: weighted(empty.metadata, weights), endpoints });
      else if (endpoints.length === 0 && group.endpoints.size > 0) plan.remove.push(before);
      else if (
        changed ||
        before.metadata.annotations?.[WEIGHTS] !== weights ||
        !hasMetadata(before.metadata, labels, owner)
      )
        plan.update.push({
          ...before,
          metadata: weighted({ ...before.metadata, labels, ownerReferences: owner }, weights),
          endpoints,
        });
    }
  }
  // An empty group has one slice that says so.
  return dropSurplusEmpty(plan, groups, byGroup);
}

function dropSurplusEmpty(
  plan: SlicePlan,
  groups: ReadonlyMap<string, EndpointGroup>,
  byGroup: ReadonlyMap<string, EndpointSlice[]>,
): SlicePlan {
  const surplus = new Set<EndpointSlice>();
  for (const [key, group] of groups)
    if (group.endpoints.size === 0) for (const slice of (byGroup.get(key) ?? []).slice(1)) surplus.add(slice);
  if (surplus.size === 0) return plan;
  const names = new Set([...surplus].map((slice) => slice.metadata.name));
  return {
    ...plan,
    update: plan.update.filter((slice) => !names.has(slice.metadata.name)),
    remove: [...plan.remove, ...surplus],
  };
}

/** Keeps endpoints where they are; new ones go where a write is due anyway, then where there is room. */
function fillGroup(group: EndpointGroup, slices: readonly EndpointSlice[], emptyBytes: number): Draft[] {
  const missing = new Map(group.endpoints);
  const drafts = slices.map((before) => keepWanted(before, missing, emptyBytes));
  const rest = [...missing.values()];
  for (const draft of drafts.filter((one) => one.changed)) take(draft, rest);
  for (const draft of drafts.filter((one) => !one.changed).sort((a, b) => b.bytes - a.bytes))
    take(draft, rest);
  while (rest.length > 0 || drafts.length === 0) {
    const draft: Draft = { before: undefined, endpoints: [], bytes: emptyBytes, changed: true };
    take(draft, rest);
    drafts.push(draft);
  }
  mergeSmall(drafts);
  return drafts;
}

/** Of slices that are written anyway, the smallest move into others with room: a deletion instead of an update. */
function mergeSmall(drafts: readonly Draft[]): void {
  const changed = drafts.filter((one) => one.changed && one.before).sort((a, b) => a.bytes - b.bytes);
  for (const [i, small] of changed.entries()) {
    const size = small.endpoints.reduce((sum, endpoint) => sum + sizeOf(endpoint), 0);
    const host = changed
      .slice(i + 1)
      .find(
        (one) =>
          one.bytes + size <= TARGET_BYTES && one.endpoints.length + small.endpoints.length <= MAX_ENDPOINTS,
      );
    if (!host) continue;
    host.endpoints.push(...small.endpoints);
    host.bytes += size;
    small.endpoints = [];
  }
}

/** The slice's endpoints that are still wanted, as they are wanted now; takes them out of `missing`. */
function keepWanted(before: EndpointSlice, missing: Map<string, Endpoint>, emptyBytes: number): Draft {
  const draft: Draft = { before, endpoints: [], bytes: emptyBytes, changed: false };
  for (const old of before.endpoints ?? []) {
    const key = endpointKey(old);
    const now = missing.get(key);
    // Gone, or a double of one that another slice has.
    if (!now || draft.endpoints.length >= MAX_ENDPOINTS) {
      draft.changed = true;
      continue;
    }
    missing.delete(key);
    if (!sameJson(now, old)) draft.changed = true;
    draft.endpoints.push(now);
    draft.bytes += sizeOf(now);
  }
  return draft;
}

const sizeOf = (endpoint: Endpoint): number => JSON.stringify(endpoint).length + 1;

/** Moves endpoints from the end of `rest` while they fit; a slice without any takes one, however long it is. */
function take(draft: Draft, rest: Endpoint[]): void {
  while (rest.length > 0 && draft.endpoints.length < MAX_ENDPOINTS) {
    const endpoint = rest.at(-1)!;
    const bytes = draft.bytes + sizeOf(endpoint);
    if (bytes > TARGET_BYTES && draft.endpoints.length > 0) return;
    rest.pop();
    draft.endpoints.push(endpoint);
    draft.bytes = bytes;
    draft.changed = true;
  }
}

function labelsFor(service: Service): Record<string, string> {
  const own = Object.entries(service.metadata.labels ?? {}).filter(
    ([key]) => key !== SERVICE_NAME && key !== SLICE_MANAGER && key !== HEADLESS,
  );
  const headless = service.spec?.clusterIP === 'None';
  return {
    ...Object.fromEntries(own),
    [SERVICE_NAME]: service.metadata.name,
    [SLICE_MANAGER]: MANAGER,
    ...(headless ? { [HEADLESS]: '' } : {}),
  };
}

type Owners = NonNullable<ObjectMeta['ownerReferences']>;

function emptySlice(
  service: Service,
  group: EndpointGroup,
  labels: Record<string, string>,
  ownerReferences: Owners,
): EndpointSlice {
  const { name, namespace } = service.metadata;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: ENDPOINT_SLICE.kind as 'EndpointSlice',
    metadata: { name: '', generateName: `${name}-`, namespace, labels, ownerReferences },
    addressType: group.addressType,
    ports: group.ports,
    endpoints: [],
  };
}

const hasMetadata = (
  { labels, ownerReferences }: ObjectMeta,
  wanted: Record<string, string>,
  owner: Owners,
) => sameJson(labels ?? {}, wanted) && ownerReferences?.some((one) => one.uid === owner[0]?.uid);

/** As `plan/endpoints.ts` of the data path reads it; undefined: all weigh 1. */
function weightsText(
  endpoints: readonly Endpoint[],
  weights: ReadonlyMap<string, number>,
): string | undefined {
  if (weights.size === 0) return undefined;
  const texts = endpoints.flatMap(({ addresses }) =>
    addresses.filter((one) => weights.has(one)).map((one) => `${one}=${weights.get(one)}`),
  );
  return texts.length > 0 ? texts.sort().join() : undefined;
}

function weighted(metadata: ObjectMeta, weights: string | undefined): ObjectMeta {
  const { annotations = {}, ...rest } = metadata;
  const { [WEIGHTS]: _before, ...others } = annotations;
  const now = weights === undefined ? others : { ...others, [WEIGHTS]: weights };
  return Object.keys(now).length === 0 ? rest : { ...rest, annotations: now };
}
