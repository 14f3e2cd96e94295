/** A container's environment and command line, as its pod, ConfigMaps and Secrets say them. Pure. */
import type { Pod } from '../../api/types.ts';
import { type FieldFacts, fieldValue, resourceValue } from './fields.ts';

type Container = NonNullable<Pod['spec']>['containers'][number];
type EnvVar = NonNullable<Container['env']>[number];

/** What a ConfigMap or Secret holds, as bytes. */
export type Data = ReadonlyMap<string, Buffer>;

export interface EnvironmentSources extends FieldFacts {
  /** Undefined: there is none. */
  configMap(name: string): Data | undefined;
  secret(name: string): Data | undefined;
  /** Before all that the container says. */
  base: Readonly<Record<string, string>>;
}

/** The container cannot be made yet; the words are those of a kubelet. */
export class ConfigError extends Error {
  /** Of the waiting state. */
  readonly reason: string = 'CreateContainerConfigError';
}

/** … or what it asks for cannot be made. */
export class CreateError extends ConfigError {
  override readonly reason = 'CreateContainerError';
}

/** Names of the ConfigMaps and Secrets that the environment needs. */
export function environmentNeeds(container: Container): { configMaps: string[]; secrets: string[] } {
  const from = container.envFrom ?? [];
  const single = (container.env ?? []).map(({ valueFrom }) => valueFrom);
  const names = (list: ({ name?: string } | undefined)[]) => [
    ...new Set(list.flatMap((ref) => (ref?.name ? [ref.name] : []))),
  ];
  return {
    configMaps: names([...from.map((one) => one.configMapRef), ...single.map((one) => one?.configMapKeyRef)]),
    secrets: names([...from.map((one) => one.secretRef), ...single.map((one) => one?.secretKeyRef)]),
  };
}

/** @throws ConfigError */
export function environmentOf(
  pod: Pod,
  container: Container,
  sources: EnvironmentSources,
): Record<string, string> {
  const result: Record<string, string> = { ...sources.base };
  for (const [name, value] of fromWhole(pod, container, sources)) result[name] = value;
  for (const one of container.env ?? []) {
    const value =
      one.valueFrom === undefined || one.valueFrom === null
        ? expand(one.value ?? '', result)
        : fromRef(pod, container, one, sources);
    if (value !== undefined) result[one.name] = value;
  }
  return result;
}

function* fromWhole(
  pod: Pod,
  container: Container,
  sources: EnvironmentSources,
): Generator<[string, string]> {
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    const ref = configMapRef ?? secretRef;
    if (!ref?.name) continue;
    const data = configMapRef ? sources.configMap(ref.name) : sources.secret(ref.name);
    if (!data && !ref.optional) throw missing(pod, configMapRef ? 'configmap' : 'secret', ref.name);
    for (const [key, value] of data ?? []) yield [`${prefix}${key}`, value.toString('utf8')];
  }
}

const missing = (_pod: Pod, kind: string, name: string): ConfigError =>
  new ConfigError(`${kind} ${JSON.stringify(name)} not found`);

function fromRef(
  pod: Pod,
  container: Container,
  { valueFrom }: EnvVar,
  sources: EnvironmentSources,
): string | undefined {
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = valueFrom!;
  try {
    if (fieldRef) return fieldValue(pod, fieldRef.fieldPath, sources);
    if (resourceFieldRef) return resourceValue(pod, container, resourceFieldRef, sources);
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
  const ref = configMapKeyRef ?? secretKeyRef;
  if (!ref) throw new ConfigError(`env.valueFrom has a source that is not there yet`);
  const kind = configMapKeyRef ? 'configmap' : 'secret';
  const name = ref.name ?? '';
  const data = configMapKeyRef ? sources.configMap(name) : sources.secret(name);
  if (!data && !ref.optional) throw missing(pod, kind, name);
  const value = data?.get(ref.key);
  if (value !== undefined) return value.toString('utf8');
  if (ref.optional) return undefined;
  const words = kind === 'configmap' ? 'ConfigMap' : 'Secret';
  throw new ConfigError(`couldn't find key ${ref.key} in ${words} ${pod.metadata.namespace}/${name}`);
}

/** `$(NAME)` becomes its value where there is one, `$$` a dollar. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$(?:\$|\(([^()]*)\))/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : Object.hasOwn(env, name) ? env[name]! : whole,
  );
}

/** Undefined: the container says none, and there is no image that would. */
export function commandOf(container: Container, env: Readonly<Record<string, string>>): string[] | undefined {
  if (!container.command || container.command.length === 0) return undefined;
  return [...container.command, ...(container.args ?? [])].map((word) => expand(word, env));
}
