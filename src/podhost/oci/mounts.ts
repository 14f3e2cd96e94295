/** What of the pod is mounted into a container of an image. Pure. */
import { normalize } from 'node:path';
import type { PodFiles } from '../files.ts';
import type { VolumeMount } from '../process/stage.ts';
import type { Container } from '../process/types.ts';
import type { Mount } from './config.ts';

export interface MountSources {
  container: Container;
  volumes: readonly VolumeMount[];
  files: PodFiles;
  /** What the program leaves there is its last word. */
  termination: string;
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
    ...volumes(sources.volumes),
    bind(termination, within(container.terminationMessagePath || '/dev/termination-log'), [
      'rw',
      'nosuid',
      'nodev',
    ]),
  ];
}

const volumes = (list: readonly VolumeMount[]): Mount[] =>
  list.map(({ source, path, readOnly }) => bind(source, path, [readOnly ? 'ro' : 'rw', 'nosuid', 'nodev']));

/** Why a container's mounts cannot be made. */
export function ociMountProblem(container: Container): string | undefined {
  for (const { name, mountPath, mountPropagation } of container.volumeMounts ?? []) {
    const path = within(mountPath);
    if (
      path === '/' ||
      ['/proc', '/sys', '/dev'].some((one) => path === one || (one !== '/dev' && path.startsWith(`${one}/`)))
    )
      return `volumeMounts: nothing can be mounted at ${mountPath}`;
    if (mountPropagation && mountPropagation !== 'None')
      return `volumeMounts: mountPropagation ${mountPropagation} of ${name}`;
  }
  return undefined;
}
