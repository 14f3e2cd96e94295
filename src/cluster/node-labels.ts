/** What a node's object says of its place (kubernetes.io/docs/reference/labels-annotations-taints), and its own labels. */
import type { NodeConfig } from './config.ts';

/** Kubernetes has no well-known label for racks. */
export const RACK_LABEL = 'topology.heddle.dev/rack';

export function nodeLabels({ labels, region, zone, rack }: NodeConfig): Record<string, string> {
  return {
    ...labels,
    ...(region === undefined ? {} : { 'topology.kubernetes.io/region': region }),
    ...(zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone }),
    ...(rack === undefined ? {} : { [RACK_LABEL]: rack }),
  };
}
