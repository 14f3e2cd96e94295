/** Labels and annotations of Kubernetes that more than one part reads or writes. */
import type { EndpointSlice } from './types.ts';

/** On every namespace, so that selectors can name it. */
export const NAMESPACE_NAME = 'kubernetes.io/metadata.name';
/** To selectors of Calico, every namespace and service account has its name under this. */
export const CALICO_NAME = 'projectcalico.org/name';
/** On a node: where it is. */
export const ZONE = 'topology.kubernetes.io/zone';
export const REGION = 'topology.kubernetes.io/region';
/** On a pod, an annotation: its share of new connections, 0 to 65535; 0 drains it. Without: 1. */
export const WEIGHT = 'heddle.dev/weight';
/** On a policy, or a namespace for all in it: `enforce` (also without) or `audit`. */
export const STAGE = 'heddle.dev/stage';
/** On an EndpointSlice, an annotation: weights other than 1 by address, `10.244.1.2=5,10.244.1.3=0`. */
export const WEIGHTS = 'heddle.dev/weights';
/** On an EndpointSlice: its Service. */
export const SERVICE_NAME = 'kubernetes.io/service-name';
/** On an EndpointSlice: whose it is. */
export const SLICE_MANAGER = 'endpointslice.kubernetes.io/managed-by';
/** Annotation: what `apply` last sent. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** `namespace/name` of the Service that a slice belongs to. */
export const serviceOf = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace ?? ''}/${metadata.labels?.[SERVICE_NAME] ?? ''}`;
