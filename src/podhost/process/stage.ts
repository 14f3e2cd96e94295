/**
 * Where a container's volumes come from. What lies in a volume that the pod's programs write in (a subPath of an
 * emptyDir, a mount inside of one) is opened by `heddle-pause stage`, which no link leads astray; see native/pause-stage.c.
 */
import { join, normalize } from 'node:path';
import type { Pod } from '../../api/types.ts';
import { ConfigError, expand } from './environment.ts';
import type { Container } from './types.ts';
import { isWritten, volumeFolder } from './volumes.ts';

export interface VolumeMount {
  /** A path of the host, as whoever `stage` starts sees it. */
  source: string;
  /** Within the container. */
  path: string;
  readOnly: boolean;
}

export interface Staging {
  /** Outer ones first; what lies inside of another is not in it. */
  mounts: VolumeMount[];
  /** Arguments of `heddle-pause stage` up to `--`; undefined: nothing is to be staged. */
  stage: string[] | undefined;
}

export interface StageOptions {
  pod: Pod;
  container: Container;
  /** The pod's own folder. */
  folder: string;
  env: Readonly<Record<string, string>>;
  /** What a path of the container is to whoever mounts there. Default: itself. */
  placed?(path: string): string;
  /** Of a volume that is not in the pod's folder. */
  place?(volume: string): string | undefined;
  /** The first of the pod's ids: what root owns of the machine's files, the pod's root owns there. Default: as it is. */
  base?: number;
}

interface Place extends VolumeMount {
  root: string;
  inner: string;
  /** Programs of the pod write there. */
  open: boolean;
  /** Of the machine. */
  host: boolean;
  /** Of what is staged. */
  staged?: string;
}

export const stageFolder = (folder: string): string => join(folder, 'stage');

/** Without a way back. */
const within = (path: string): string => normalize(`/${path}`).replace(/(.)\/$/, '$1');

const depth = (path: string): number => path.split('/').length;

/** @throws ConfigError when an expression leads out of its volume */
export function stagingOf(options: StageOptions): Staging {
  const places = (options.container.volumeMounts ?? [])
    .map((mount) => placeOf(mount, options))
    .toSorted((a, b) => depth(a.path) - depth(b.path));
  const stage = stageFolder(options.folder);
  const words: string[] = [];
  const mounts: VolumeMount[] = [];
  const add = (place: Place, name: string): void => {
    place.staged = name;
    const mapped = place.host && options.base !== undefined ? `,${options.base}` : '';
    words.push(name, place.root, place.inner, `${place.readOnly ? 'ro' : 'rw'}${mapped}`);
  };
  for (const place of places) {
    const outer = places.findLast((one) => one !== place && one.staged && liesIn(place.path, one.path));
    if (outer) {
      add(place, `${outer.staged}${place.path.slice(outer.path.length)}`);
      continue;
    }
    const holds = places.some((one) => one !== place && liesIn(one.path, place.path));
    if (place.open && (place.host || place.inner !== '' || holds)) {
      const name = String(mounts.length);
      add(place, name);
      mounts.push({ source: join(stage, name), path: place.path, readOnly: place.readOnly });
    } else mounts.push({ source: place.source, path: place.path, readOnly: place.readOnly });
  }
  return { mounts, stage: words.length > 0 ? [stage, ...words] : undefined };
}

export const liesIn = (path: string, outer: string): boolean => path.startsWith(`${outer}/`);

function placeOf(
  { name, mountPath, subPath, subPathExpr, readOnly }: NonNullable<Container['volumeMounts']>[number],
  { pod, folder, env, place, placed = (path) => path }: StageOptions,
): Place {
  const volume = pod.spec?.volumes?.find((one) => one.name === name);
  const inner = subPathExpr === undefined ? (subPath ?? '') : expand(subPathExpr, env);
  if (inner.split('/').includes('..') || inner.startsWith('/'))
    throw new ConfigError(`subPathExpr of ${name} became "${inner}"`);
  const root = volume?.hostPath?.path ?? place?.(name) ?? volumeFolder(folder, name);
  const written = volume !== undefined && isWritten(volume);
  return {
    root,
    inner,
    source: join(root, inner),
    path: placed(within(mountPath)),
    readOnly: readOnly === true || written,
    open: !written,
    host: volume?.hostPath !== undefined,
  };
}

/** Folders of old that are links into /usr. */
export const inUsr = (path: string): string =>
  /^\/(bin|sbin|lib|lib32|lib64|libx32)(\/|$)/.test(path) ? `/usr${path}` : path;
