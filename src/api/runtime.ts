/** Which runtime a pod asks for: chosen by the pod or by the cluster, never guessed. */
import type { KubeObject, Pod } from './types.ts';

/** `stand-in`, `process`, `oci` or `cri`; annotation of a pod, or of a template's pods. */
export const RUNTIME_ANNOTATION = 'heddle.dev/runtime';

export const RUNTIMES = ['stand-in', 'process', 'oci', 'cri'] as const;
export type Runtime = (typeof RUNTIMES)[number];

/** What pods get that ask for none. */
export interface RuntimeDefaults {
  /** The cluster was started with --stand-in. */
  standIn: boolean;
  /** … with --runtime. */
  runtime?: Runtime | undefined;
}

interface Annotated {
  metadata?: { annotations?: Record<string, string> };
}

/** The annotation's value, known or not; undefined where there is none. */
export const askedRuntime = (pod: Annotated): string | undefined =>
  pod.metadata?.annotations?.[RUNTIME_ANNOTATION];

/** Undefined when no runtime runs it. */
export function runtimeOf(pod: Pod | Annotated, defaults: RuntimeDefaults): Runtime | undefined {
  const asked = askedRuntime(pod);
  if (asked === undefined) return defaults.runtime ?? (defaults.standIn ? 'stand-in' : undefined);
  return RUNTIMES.find((one) => one === asked);
}

/** What pods an object is or makes, by the kinds that Heddle acts on. */
export function podTemplateOf(object: KubeObject): Annotated | undefined {
  if (object.kind === 'Pod') return object;
  if (object.kind !== 'Deployment' && object.kind !== 'ReplicaSet') return undefined;
  return (object['spec'] as { template?: Annotated } | undefined)?.template;
}
