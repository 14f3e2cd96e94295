/**
 * What a pod takes of its node's room. Programs take what the pod requests. A stand-in uses none of it: of the machine it
 * takes nothing, and manifests made for large machines run on a small one. Of what a node was given (`resources:`,
 * `--node-resources`) it takes as much as programs would: whoever says how large nodes are wants to see what fits. Pure.
 */
import { type Amounts, podRequests } from './pod-requests.ts';
import { type RuntimeDefaults, runtimeOf } from './runtime.ts';
import type { Pod } from './types.ts';

type Quantities = Readonly<Record<string, string>>;

export interface NodesRoom extends RuntimeDefaults {
  readonly nodes: readonly { readonly name: string; readonly resources?: Quantities | undefined }[];
  /** Of every node that does not name the resource itself. */
  readonly nodeResources?: Quantities | undefined;
}

export type PodTakes = (pod: Pod, node: string) => Amounts;

const NOTHING: Amounts = new Map();

/** What a node was given, by name of the resource. */
export const givenTo = ({ nodes, nodeResources }: Omit<NodesRoom, 'standIn'>, node: string): Quantities => ({
  ...nodeResources,
  ...nodes.find(({ name }) => name === node)?.resources,
});

/** The same for who places pods and for who takes them. Pods that nothing runs take nothing: their node says why. */
export function podTakes(config: NodesRoom): PodTakes {
  const given = new Map(
    config.nodes.map(({ name }) => [name, new Set(Object.keys(givenTo(config, name)))] as const),
  );
  return (pod, node) => {
    const requests = podRequests(pod);
    if (requests.size === 0) return requests;
    const runtime = runtimeOf(pod, config);
    if (runtime !== undefined && runtime !== 'stand-in') return requests;
    const names = given.get(node);
    return names?.size ? new Map([...requests].filter(([name]) => names.has(name))) : NOTHING;
  };
}
