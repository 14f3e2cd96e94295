/** What of the pod is mounted into a container of an image. Pure. */
import { join, normalize } from 'node:path';
import type { Pod } from '../../api/types.ts';
import type { PodFiles } from '../files.ts';
import { ConfigError, expand } from '../process/environment.ts';
import type { Container } from '../process/types.ts';
import { isWritten, volumeFolder } from '../process/volumes.ts';
import type { Mount } from './config.ts';

export interface MountSources {
  pod: Pod;
  container: Container;
  /** The pod's own folder. */
  folder: string;
  files: PodFiles;
  /** What the program leaves there is its last word. */
  termination: string;
  env: Readonly<Record<string, string>>;
}

const within = (path: string): string => normalize(`/${path}`).replace(/(.)\/$/, '$1');

const bind = (source: string, destination: string, options: string[]): Mount => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind', ...options],
});

/** Outer ones first, and the last word over whatever a volume puts there. runc follows no link out of the container. */
export function podMounts(sources: MountSources): Mount[] {
  const { container, files, termination } = sources;
  return [
    bind(files.resolvConf, '/etc/resolv.conf', ['ro', 'nosuid', 'nodev']),
    bind(files.hosts, '/etc/hosts', ['ro', 'nosuid', 'nodev']),
    bind(files.hostname, '/etc/hostname', ['ro', 'nosuid', 'nodev']),
    ...volumes(sources),
    bind(termination, within(container.terminationMessagePath || '/dev/termination-log'), [
      'rw',
      'nosuid',
      'nodev',
    ]),
  ];
}

function volumes({ pod, container, folder, env }: MountSources): Mount[] {
  const all = (container.volumeMounts ?? []).toSorted(
    (a, b) => within(a.mountPath).split('/').length - within(b.mountPath).split('/').length,
  );
  return all.map(({ name, mountPath, subPath, subPathExpr, readOnly }) => {
    const volume = pod.spec?.volumes?.find((one) => one.name === name);
    const inner = subPathExpr === undefined ? (subPath ?? '') : expand(subPathExpr, env);
    if (inner.split('/').includes('..')) throw new ConfigError(`subPathExpr of ${name} became "${inner}"`);
    const isReadOnly = readOnly === true || (volume !== undefined && isWritten(volume));
    return bind(join(volumeFolder(folder, name), inner), within(mountPath), [
      isReadOnly ? 'ro' : 'rw',
      'nosuid',
      'nodev',
    ]);
  });
}

/** Why a container's mounts cannot be made. */
export function ociMountProblem(pod: Pod, container: Container): string | undefined {
  for (const { name, mountPath, subPath, subPathExpr, mountPropagation } of container.volumeMounts ?? []) {
    const volume = pod.spec?.volumes?.find((one) => one.name === name);
    const path = within(mountPath);
    if (
      path === '/' ||
      ['/proc', '/sys', '/dev'].some((one) => path === one || (one !== '/dev' && path.startsWith(`${one}/`)))
    )
      return `volumeMounts: nothing can be mounted at ${mountPath}`;
    if ((subPath || subPathExpr) && volume && !isWritten(volume))
      return `volumeMounts: subPath of ${name}, an emptyDir: it is there for configMap, secret, projected and downwardAPI volumes alone`;
    if (mountPropagation && mountPropagation !== 'None')
      return `volumeMounts: mountPropagation ${mountPropagation} of ${name}`;
  }
  return undefined;
}
