/** Which runtime a pod asks for: chosen by the pod or by the cluster, never guessed. */
import type { KubeObject, Pod } from './types.ts';

/** `stand-in` or `process`; annotation of a pod, or of a template's pods. */
export const RUNTIME_ANNOTATION = 'heddle.dev/runtime';

export type Runtime = 'stand-in' | 'process';

interface Annotated {
  metadata?: { annotations?: Record<string, string> };
}

/** The annotation's value, known or not; undefined where there is none. */
export const askedRuntime = (pod: Annotated): string | undefined =>
  pod.metadata?.annotations?.[RUNTIME_ANNOTATION];

/** Undefined when no runtime runs it. `standIn`: the cluster was started with --stand-in. */
export function runtimeOf(pod: Pod | Annotated, options: { standIn: boolean }): Runtime | undefined {
  const asked = askedRuntime(pod);
  if (asked === undefined) return options.standIn ? 'stand-in' : undefined;
  return asked === 'stand-in' || asked === 'process' ? asked : undefined;
}

/** What pods an object is or makes, by the kinds that Heddle acts on. */
export function podTemplateOf(object: KubeObject): Annotated | undefined {
  if (object.kind === 'Pod') return object;
  if (object.kind !== 'Deployment' && object.kind !== 'ReplicaSet') return undefined;
  return (object['spec'] as { template?: Annotated } | undefined)?.template;
}
