/** Objects that policies refer to → what lowering reads of them (`World.surroundings`). */
import { isCalico } from '../api/calico-types.ts';
import type { KubeObject, ObjectMeta } from '../api/types.ts';
import { isSlice, servicesOf } from './services.ts';
import type { Surroundings, WorldAddressSet, WorldNamespace, WorldTier } from './world.ts';

const KINDS = ['Tier', 'NetworkSet', 'GlobalNetworkSet'];

/** Whether policies may refer to it; it is no policy itself. */
export const isSurrounding = (object: Pick<KubeObject, 'apiVersion' | 'kind'>): boolean =>
  isReferred(object) || isSlice(object);

const isReferred = (object: Pick<KubeObject, 'apiVersion' | 'kind'>): boolean =>
  (isCalico(object) && KINDS.includes(object.kind)) || isCidrGroup(object);

/** In whichever version. */
const isCidrGroup = ({ apiVersion, kind }: Pick<KubeObject, 'apiVersion' | 'kind'>): boolean =>
  kind === 'CiliumCIDRGroup' && apiVersion.startsWith('cilium.io/');

export interface AnyObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/**
 * Objects that are none are left out. A namespaced set is known by the labels of its namespace too. Of objects with the
 * same name the last counts.
 */
export function surroundingsOf(
  objects: Iterable<AnyObject>,
  namespaces: readonly WorldNamespace[],
): Surroundings {
  const all = [...objects];
  const found = new Map(all.filter(isReferred).map((object) => [keyOf(object), object]));
  const labels = new Map(namespaces.map((namespace) => [namespace.name, namespace.labels]));
  const tiers: WorldTier[] = [];
  const addressSets: WorldAddressSet[] = [];
  for (const object of found.values())
    if (object.kind === 'Tier') tiers.push(tierOf(object));
    else addressSets.push(setOf(object, labels));
  return { tiers, addressSets, services: servicesOf(all) };
}

const namespaceOf = ({ kind, metadata }: AnyObject): string =>
  kind === 'NetworkSet' ? (metadata.namespace ?? 'default') : '';

const keyOf = (object: AnyObject): string => `${object.kind} ${namespaceOf(object)}/${object.metadata.name}`;

function tierOf(object: AnyObject): WorldTier {
  const { spec } = object as { spec?: { order?: unknown; defaultAction?: unknown } };
  return {
    name: object.metadata.name,
    order: typeof spec?.order === 'number' ? spec.order : undefined,
    defaultAction: spec?.defaultAction === 'Pass' ? 'Pass' : 'Deny',
  };
}

function setOf(
  object: AnyObject,
  namespaces: ReadonlyMap<string, WorldNamespace['labels']>,
): WorldAddressSet {
  const { spec } = object as { spec?: { nets?: unknown; externalCIDRs?: unknown } };
  const ranges = object.kind === 'CiliumCIDRGroup' ? spec?.externalCIDRs : spec?.nets;
  const namespace = namespaceOf(object);
  return {
    kind: object.kind,
    namespace,
    name: object.metadata.name,
    labels: object.metadata.labels ?? {},
    namespaceLabels: namespaces.get(namespace),
    cidrs: (Array.isArray(ranges) ? ranges : []).filter((net) => typeof net === 'string'),
  };
}
