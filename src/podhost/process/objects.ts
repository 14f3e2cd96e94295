/** The ConfigMaps and Secrets that a pod needs, as they are now. */
import type { ConfigMap, Pod, Secret } from '../../api/types.ts';
import { type Data, environmentNeeds } from './environment.ts';
import type { Container } from './types.ts';
import type { TokenReader } from './tokens.ts';
import { volumeNeeds } from './volumes.ts';

export interface ObjectReaders {
  /** Undefined: there is none of that name. */
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<Secret | undefined>;
  token: TokenReader;
}

export interface Objects {
  configMap(name: string): Data | undefined;
  secret(name: string): Data | undefined;
}

/** Of the volumes, and of the environment of `container` where one is given. */
export async function readObjects(
  pod: Pod,
  container: Container | undefined,
  read: ObjectReaders,
): Promise<Objects> {
  const namespace = pod.metadata.namespace ?? 'default';
  const needs = container ? environmentNeeds(container) : volumeNeeds(pod);
  const configMaps = new Map<string, Data>();
  const secrets = new Map<string, Data>();
  await Promise.all([
    ...needs.configMaps.map(async (name) => {
      const found = await read.configMap(namespace, name);
      if (found) configMaps.set(name, new Map([...texts(found.data), ...encoded(found.binaryData)]));
    }),
    ...needs.secrets.map(async (name) => {
      const found = await read.secret(namespace, name);
      if (found) secrets.set(name, new Map(encoded(found.data)));
    }),
  ]);
  return { configMap: (name) => configMaps.get(name), secret: (name) => secrets.get(name) };
}

const texts = (data: Readonly<Record<string, string>> | undefined): [string, Buffer][] =>
  Object.entries(data ?? {}).map(([key, text]) => [key, Buffer.from(text)]);

const encoded = (data: object | undefined): [string, Buffer][] =>
  Object.entries(data ?? {}).map(([key, text]) => [key, Buffer.from(String(text), 'base64')]);
