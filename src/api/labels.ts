/** Labels and annotations of Kubernetes that more than one part reads or writes. */
import type { EndpointSlice } from './types.ts';

/** On every namespace, so that selectors can name it. */
export const NAMESPACE_NAME = 'kubernetes.io/metadata.name';
/** On a node: where it is. */
export const ZONE = 'topology.kubernetes.io/zone';
/** On an EndpointSlice: its Service. */
export const SERVICE_NAME = 'kubernetes.io/service-name';
/** On an EndpointSlice: whose it is. */
export const SLICE_MANAGER = 'endpointslice.kubernetes.io/managed-by';
/** Annotation: what `apply` last sent. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** `namespace/name` of the Service that a slice belongs to. */
export const serviceOf = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace ?? ''}/${metadata.labels?.[SERVICE_NAME] ?? ''}`;
