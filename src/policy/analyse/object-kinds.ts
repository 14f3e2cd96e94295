/** Which objects tell of pods and policies, whatever version they are written in. */
import { CALICO_CRD_GROUP, CALICO_GROUP } from '../../api/calico-types.ts';
import type { KubeObject } from '../../api/types.ts';
import { isMeshKind } from '../mesh/objects.ts';

/** Also groups of long ago: their workloads and policies look alike. */
const groupsOfKind: Readonly<Record<string, readonly string[]>> = {
  Deployment: ['apps', 'extensions'],
  ReplicaSet: ['apps', 'extensions'],
  DaemonSet: ['apps', 'extensions'],
  StatefulSet: ['apps'],
  Job: ['batch'],
  CronJob: ['batch'],
  ReplicationController: [''],
};

export const groupOf = ({ apiVersion }: KubeObject): string =>
  apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';

export const isWorkloadTemplate = (object: KubeObject): boolean =>
  groupsOfKind[object.kind]?.includes(groupOf(object)) ?? false;

const CALICO = [CALICO_GROUP, CALICO_CRD_GROUP];

const groupsOfPolicy: Readonly<Record<string, readonly string[]>> = {
  NetworkPolicy: ['networking.k8s.io', 'extensions', ...CALICO],
  GlobalNetworkPolicy: CALICO,
  AdminNetworkPolicy: ['policy.networking.k8s.io'],
  BaselineAdminNetworkPolicy: ['policy.networking.k8s.io'],
  ClusterNetworkPolicy: ['policy.networking.k8s.io'],
  CiliumNetworkPolicy: ['cilium.io'],
  CiliumClusterwideNetworkPolicy: ['cilium.io'],
};

export const isPolicy = (object: KubeObject): boolean =>
  groupsOfPolicy[object.kind]?.includes(groupOf(object)) ?? false;

/** What is asked of proxies. */
export const isMesh = (object: KubeObject): boolean =>
  groupOf(object) === 'security.istio.io' && isMeshKind(object.kind);

/** Kinds that have a say in who reaches whom, but whose language is not among those read here. */
const policyGroups = new Set([
  'policy.networking.k8s.io',
  'cilium.io',
  'crd.projectcalico.org',
  'projectcalico.org',
  'security.istio.io',
]);

/** Of a `group/Kind`. */
export const isUnreadPolicyKind = (kind: string): boolean => policyGroups.has(kind.split('/')[0] ?? '');

export interface PodTemplate {
  readonly metadata?: { readonly labels?: Record<string, string> };
  readonly spec?: object;
}

/** Where the template is in an object of such a kind. */
export const templatePath = (kind: string): readonly string[] =>
  kind === 'CronJob' ? ['spec', 'jobTemplate', 'spec', 'template'] : ['spec', 'template'];

export function templateOf(object: KubeObject): PodTemplate | undefined {
  let value: unknown = object;
  for (const key of templatePath(object.kind)) value = (value as Record<string, unknown> | undefined)?.[key];
  return value as PodTemplate | undefined;
}

/** The direct owner. A node owns its static pods, which have nothing else in common. */
export function podsOwner({ metadata }: KubeObject): { kind: string; name: string } | undefined {
  const references = metadata.ownerReferences ?? [];
  const owner = references.find(({ controller }) => controller === true) ?? references[0];
  return owner && owner.kind !== 'Node' ? { kind: owner.kind, name: owner.name } : undefined;
}

/** Labels that controllers give single pods or single revisions. */
const passing = new Set([
  'pod-template-hash',
  'controller-revision-hash',
  'pod-template-generation',
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
  'controller-uid',
  'batch.kubernetes.io/controller-uid',
]);

export const isPassingLabel = (key: string): boolean => passing.has(key);
