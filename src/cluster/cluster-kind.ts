/** How a file that says what a cluster shall be is told from manifests. */
import type { ManifestObject } from '../api/manifest/parse.ts';

export const CLUSTER_API = 'heddle.dev/v1alpha1';

/** Of any version: another than ours is refused, not applied. */
export const isClusterFile = ({ object }: ManifestObject): boolean =>
  object.kind === 'Cluster' && object.apiVersion?.split('/')[0] === 'heddle.dev';
