/** A pod's volumes: folders below its own, filled from objects, renewed when these change. */
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorText } from '../../lib/errors.ts';
import { quantityValue } from '../../api/quantity.ts';
import type { Pod } from '../../api/types.ts';
import { type Data, ConfigError } from './environment.ts';
import { type FieldFacts, fieldValue, resourceValue } from './fields.ts';
import { hostPathProblem, prepareHostPath } from './host-path.ts';
import type { VolumeOwners } from './launcher.ts';
import { type TokenWish, wishOf } from './tokens.ts';

type Volume = NonNullable<NonNullable<Pod['spec']>['volumes']>[number];
type Source = NonNullable<NonNullable<Volume['projected']>['sources']>[number];

export interface VolumeSources extends FieldFacts {
  configMap(name: string): Data | undefined;
  secret(name: string): Data | undefined;
  token(wish: TokenWish): string;
}

/** Kinds that hold what the agent writes: their content is trusted, and read-only. */
const WRITTEN = ['configMap', 'secret', 'projected', 'downwardAPI'] as const;
const KNOWN: readonly string[] = ['emptyDir', 'hostPath', ...WRITTEN];

export const kindOf = (volume: Volume): string =>
  Object.keys(volume).find((key) => key !== 'name' && volume[key as keyof Volume] !== undefined) ?? '';

export const isWritten = (volume: Volume): boolean => (WRITTEN as readonly string[]).includes(kindOf(volume));

/** What of a pod's volumes process pods cannot have, in words. */
export function volumeProblems(pod: Pod): string[] {
  const volumes = pod.spec?.volumes ?? [];
  const unknown = volumes
    .filter((volume) => !KNOWN.includes(kindOf(volume)))
    .map((volume) => `volume ${volume.name}: ${kindOf(volume)}`);
  const tokens = volumes
    .filter(({ projected }) => projected?.sources?.some((one) => kindOfSource(one) === undefined))
    .map(
      ({ name }) =>
        `volume ${name}: a projected source other than configMap, secret, downwardAPI and serviceAccountToken`,
    );
  return [...unknown, ...tokens, ...volumes.flatMap((volume) => hostPathProblem(volume) ?? [])];
}

const kindOfSource = (source: Source) =>
  (['configMap', 'secret', 'downwardAPI', 'serviceAccountToken'] as const).find(
    (key) => source[key] !== undefined,
  );

/** ConfigMaps and Secrets that the volumes need. */
export function volumeNeeds(pod: Pod): { configMaps: string[]; secrets: string[] } {
  const volumes = pod.spec?.volumes ?? [];
  const sources = volumes.flatMap(({ projected }) => projected?.sources ?? []);
  const names = (list: (string | undefined)[]) => [...new Set(list.filter((name) => name !== undefined))];
  return {
    configMaps: names([...volumes, ...sources].map(({ configMap }) => configMap?.name)),
    secrets: names([
      ...volumes.map((one) => one.secret?.secretName),
      ...sources.map((one) => one.secret?.name),
    ]),
  };
}

export const volumeFolder = (folder: string, name: string): string => join(folder, 'volumes', name);

/** Memory volumes, as the pod's holder mounts them. */
export const memoryMounts = (pod: Pod, folder: string, owners: VolumeOwners): string[] =>
  memoryVolumes(pod, owners).map(({ name, options }) => `${volumeFolder(folder, name)},${options}`);

/** With the options of their tmpfs. */
export function memoryVolumes(pod: Pod, owners: VolumeOwners): { name: string; options: string }[] {
  return (pod.spec?.volumes ?? [])
    .filter(({ emptyDir }) => emptyDir?.medium === 'Memory')
    .map(({ name, emptyDir }) => {
      const size = quantityValue(String(emptyDir?.sizeLimit ?? '64Mi')) ?? 64 << 20;
      const group = fsGroupOf(pod, owners);
      const owner = `uid=${owners.owner},gid=${group ?? owners.owner}`;
      return {
        name,
        options: `mode=${group === undefined ? '0777' : '2777'},${owner},size=${Math.ceil(size)}`,
      };
    });
}

function fsGroupOf(pod: Pod, owners: VolumeOwners): number | undefined {
  const group = pod.spec?.securityContext?.fsGroup;
  return group === undefined ? undefined : owners.group(group);
}

/** Makes what is missing and renews what has changed. @throws ConfigError when an object is not there */
export async function prepareVolumes(
  pod: Pod,
  folder: string,
  sources: VolumeSources,
  owners: VolumeOwners,
): Promise<void> {
  await makeOpen(join(folder, 'volumes'));
  for (const volume of pod.spec?.volumes ?? [])
    await prepareVolume(volume, { pod, folder, sources, owners }).catch((error: unknown) => {
      throw new ConfigError(`for volume ${JSON.stringify(volume.name)} : ${errorText(error)}`, {
        cause: error,
      });
    });
}

interface Preparing {
  pod: Pod;
  folder: string;
  sources: VolumeSources;
  owners: VolumeOwners;
}

async function prepareVolume(volume: Volume, preparing: Preparing): Promise<void> {
  const { pod, folder, owners } = preparing;
  const path = volumeFolder(folder, volume.name);
  if (volume.hostPath) await prepareHostPath(volume.hostPath);
  else if (volume.emptyDir) await makeEmpty(path, owners.owner, fsGroupOf(pod, owners));
  else if (isWritten(volume)) {
    await makeOpen(path);
    await fill(path, contentOf(volume, preparing), owners.owner, fsGroupOf(pod, owners));
  }
}

/** Open to every user of the pod, whatever the agent's umask. */
async function makeOpen(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o755);
}

async function makeFolders(root: string, path: string): Promise<void> {
  const parts = path.split('/').filter((part) => part !== '.');
  for (const [i] of parts.entries()) await makeOpen(join(root, ...parts.slice(0, i + 1)));
}

/** Once: programs of the pod may be writing there when the other volumes are renewed. */
async function makeEmpty(path: string, owner: number, group: number | undefined): Promise<void> {
  const mode = group === undefined ? 0o777 : 0o2777;
  await mkdir(path, { recursive: true });
  const found = await stat(path);
  const isOwned = found.uid === owner && found.gid === (group ?? owner);
  if ((found.mode & 0o7777) === mode && isOwned) return;
  if (!isOwned) await chown(path, owner, group ?? owner);
  await chmod(path, mode);
}

interface File {
  bytes: Buffer;
  mode: number;
  /** Default: that of the volume. */
  owner?: number;
}
type Files = Map<string, File>;

function contentOf(volume: Volume, { pod, sources, owners }: Preparing): Files {
  const files: Files = new Map();
  for (const part of partsOf(volume))
    for (const [path, file] of partOf(pod, part, sources, owners)) files.set(localPath(path, volume), file);
  return files;
}

/** It is written as root: an API server that lets others pass must not make it another file of the host. */
function localPath(path: string, { name }: Volume): string {
  if (path !== '' && !path.startsWith('/') && !path.startsWith('..') && !path.split('/').includes('..'))
    return path;
  throw new ConfigError(`the path ${JSON.stringify(path)} does not lie in the volume ${name}`);
}

type Part = Source & { mode?: number | undefined };

/** A volume of one source is as a projected one with that source alone. */
function partsOf({ configMap, secret, downwardAPI, projected }: Volume): Part[] {
  if (projected) return (projected.sources ?? []).map((one) => ({ ...one, mode: projected.defaultMode }));
  if (configMap) return [{ configMap, mode: configMap.defaultMode }];
  if (secret) return [{ secret: { ...secret, name: secret.secretName }, mode: secret.defaultMode }];
  return downwardAPI ? [{ downwardAPI, mode: downwardAPI.defaultMode }] : [];
}

function* partOf(
  pod: Pod,
  part: Part,
  sources: VolumeSources,
  owners: VolumeOwners,
): Generator<[path: string, file: File]> {
  const fallback = part.mode ?? 0o644;
  for (const { path, fieldRef, resourceFieldRef, mode } of part.downwardAPI?.items ?? []) {
    const text = fieldRef
      ? fieldValue(pod, fieldRef.fieldPath, sources)
      : resourceValue(pod, undefined, resourceFieldRef!, sources);
    yield [path, { bytes: Buffer.from(text), mode: mode ?? fallback }];
  }
  if (part.serviceAccountToken)
    yield [part.serviceAccountToken.path, tokenFile(part.serviceAccountToken, fallback, sources, owners)];
  yield* ofObject(part, fallback, sources);
}

/** Nobody else of the pod needs to read it where its containers are one user. */
function tokenFile(
  source: NonNullable<Source['serviceAccountToken']>,
  mode: number,
  sources: VolumeSources,
  owners: VolumeOwners,
): File {
  const owner = owners.onlyUser?.();
  const bytes = Buffer.from(sources.token(wishOf(source)));
  return { bytes, ...(owner === undefined ? { mode } : { mode: 0o600, owner }) };
}

function* ofObject(
  part: Part,
  fallback: number,
  sources: VolumeSources,
): Generator<[path: string, file: File]> {
  const ref = part.configMap ?? part.secret;
  if (!ref) return;
  const kind = part.configMap ? 'configmap' : 'secret';
  const name = ref.name ?? '';
  const data = part.configMap ? sources.configMap(name) : sources.secret(name);
  if (!data && !ref.optional) throw new ConfigError(`${kind} ${JSON.stringify(name)} not found`);
  if (!data) return;
  for (const { key, path, mode } of ref.items ??
    [...data.keys()].map((key) => ({ key, path: key, mode: undefined }))) {
    const bytes = data.get(key);
    if (bytes) yield [path, { bytes, mode: mode ?? fallback }];
    else if (!ref.optional)
      throw new ConfigError(`${kind} ${JSON.stringify(name)} references non-existent key: ${key}`);
  }
}

/**
 * Whole or not at all: the files stand in a folder of their own, the link `..data` leads to it, and what a reader
 * opens leads through that link, so that one rename changes them all.
 */
async function fill(root: string, files: Files, owner: number, group: number | undefined): Promise<void> {
  if (await isSame(root, files)) return;
  const before = await readlink(join(root, '..data')).catch(() => undefined);
  await forgetUnfinished(root, before);
  const fresh = `..${Date.now()}.${Math.floor(Math.random() * 1e6)}`;
  await makeOpen(join(root, fresh));
  for (const [path, { bytes, mode, owner: own = owner }] of files) {
    const at = join(root, fresh, path);
    await makeFolders(join(root, fresh), dirname(path));
    await writeFile(at, bytes);
    // A group that is asked for reads what the owner reads.
    if (group !== undefined || own !== 0) await chown(at, own, group ?? owner);
    await chmod(at, group === undefined ? mode : mode | ((mode & 0o400) >> 3));
  }
  await symlink(fresh, join(root, '..data.new'));
  await rename(join(root, '..data.new'), join(root, '..data'));
  const tops = new Set([...files.keys()].map((path) => path.split('/')[0]!));
  for (const top of tops) await symlink(join('..data', top), join(root, top)).catch(ignoreExisting);
  for (const old of await readdir(root))
    if (!old.startsWith('..') && !tops.has(old)) await rm(join(root, old), { force: true });
  if (before) await rm(join(root, before), { recursive: true, force: true });
}

/** What an agent that was killed on the way has left. */
async function forgetUnfinished(root: string, current: string | undefined): Promise<void> {
  for (const name of await readdir(root))
    if (name.startsWith('..') && name !== '..data' && name !== current)
      await rm(join(root, name), { recursive: true, force: true });
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

async function isSame(root: string, files: Files): Promise<boolean> {
  const found = await readdir(join(root, '..data'), { recursive: true, withFileTypes: true }).catch(
    () => undefined,
  );
  if (!found || found.filter((one) => one.isFile()).length !== files.size) return false;
  for (const [path, { bytes }] of files) {
    const now = await readFile(join(root, '..data', path)).catch(() => undefined);
    if (!now?.equals(bytes)) return false;
  }
  return true;
}
