/**
 * The command line that makes a container's file system: of the host's files what an ordinary program needs,
 * read-only; its volumes; folders of its own. Then `heddle-pause inside` gives up root and starts the program.
 */
import { normalize } from 'node:path';
import type { Pod } from '../../api/types.ts';
import type { PodFiles } from '../files.ts';
import { hostFolders } from '../jail.ts';
import { ConfigError } from './environment.ts';
import type { Target } from './launcher.ts';
import { type Identity, identityArgs } from './identity.ts';
import { inUsr, liesIn, stagingOf, type VolumeMount } from './stage.ts';
import { isWritten } from './volumes.ts';

type Container = NonNullable<Pod['spec']>['containers'][number];

export interface ContainerFiles {
  /** NAME=VALUE, each ended by NUL; read before root is given up. */
  environment: string;
  /** What the program leaves there is its last word. */
  termination: string;
  /** Its own filter of system calls, as native/pause-profile.c reads it. */
  profile?: string;
}

export interface ArgvOptions {
  /** heddle-pause */
  program: string;
  pod: Pod;
  container: Container;
  identity: Identity;
  /** The pod's own folder. */
  folder: string;
  podFiles: PodFiles;
  files: ContainerFiles;
  env: Readonly<Record<string, string>>;
  argv: readonly string[];
  /** It joins the processes of this container instead of having its own. */
  target?: Target;
}

/** Ours, over whatever a volume puts there. */
const OWN = '/.heddle';
const PRIVATE = ['/tmp', '/run', '/home', '/root', '/var/tmp', '/dev/shm'];
const PRIVATE_BYTES = 64 << 20;

/** Without a way back: bwrap would follow it out of the container's root, to the host's, and make it there. */
const within = (path: string): string => normalize(`/${path}`);

export const terminationPath = (container: Container): string =>
  within(container.terminationMessagePath || '/dev/termination-log');

export const workingFolder = (container: Container): string => container.workingDir ?? '/home';

/** bwrap makes this mount point as root and follows links: it may not lie where a program could have put one. */
function terminationProblem(pod: Pod, container: Container): string | undefined {
  const own = inUsr(terminationPath(container));
  for (const { name, mountPath } of container.volumeMounts ?? []) {
    const volume = pod.spec?.volumes?.find((one) => one.name === name);
    const outer = inUsr(within(mountPath)).replace(/(.)\/$/, '$1');
    if (!(volume && isWritten(volume)) && liesIn(own, outer))
      return `terminationMessagePath ${own} lies inside of ${outer}, an emptyDir`;
  }
  return undefined;
}

/** Why a container's mounts cannot be made. */
export function mountProblem(pod: Pod, container: Container): string | undefined {
  for (const { name, mountPath, mountPropagation } of container.volumeMounts ?? []) {
    const path = within(mountPath);
    if (path === '/' || path.startsWith(OWN) || path === '/proc' || path.startsWith('/proc/'))
      return `volumeMounts: nothing can be mounted at ${mountPath}`;
    if (mountPropagation && mountPropagation !== 'None')
      return `volumeMounts: mountPropagation ${mountPropagation} of ${name}`;
  }
  return terminationProblem(pod, container);
}

/** A line of the command line: words without blanks. */
const words = (line: string): string[] => line.split(' ');

/** @throws ConfigError when a text has a NUL: what follows it would be words of the command line by themselves. */
export function containerArgv(options: ArgvOptions): string[] {
  const made = commandLine(options);
  const texts = [...made, ...Object.entries(options.env).flat()];
  const cut = texts.find((text) => text.includes('\0'));
  if (cut !== undefined)
    throw new ConfigError(`${JSON.stringify(cut)} has a NUL, which no program can be given`);
  return made;
}

/** Without either bwrap shows the machine's processes: who joins others' puts theirs in that place. */
function processes({ pod, target }: ArgvOptions): string {
  if (target) return '--cap-add CAP_SYS_ADMIN';
  // See SHARE_FD in native/pause.h.
  return pod.spec?.shareProcessNamespace ? '--pidns 6' : '--unshare-pid --as-pid-1';
}

function commandLine(options: ArgvOptions): string[] {
  const { container, identity, podFiles, files } = options;
  const { mounts, stage } = stagingOf({ ...options, placed: inUsr });
  const readOnly = container.securityContext?.readOnlyRootFilesystem === true;
  const privateFolder = (path: string) =>
    readOnly && path !== '/dev/shm'
      ? ['--perms', '0755', '--dir', path]
      : ['--perms', '1777', '--size', String(PRIVATE_BYTES), '--tmpfs', path];
  const { target } = options;
  return [
    ...(target ? [options.program, 'look', String(target.pid), target.cgroup, '--'] : []),
    ...(stage ? [options.program, 'stage', ...stage, '--'] : []),
    ...words('bwrap --unshare-cgroup-try --die-with-parent --new-session'),
    ...words(processes(options)),
    ...words('--info-fd 3 --clearenv'),
    ...hostFolders(podFiles),
    ...words('--proc /proc --dev /dev'),
    ...PRIVATE.flatMap(privateFolder),
    ...volumeMounts(mounts),
    ...foldersAbove(terminationPath(container)),
    '--bind',
    files.termination,
    terminationPath(container),
    ...words(`--perms 0755 --dir ${OWN} --ro-bind`),
    options.program,
    `${OWN}/pause`,
    '--ro-bind',
    files.environment,
    `${OWN}/env`,
    ...(files.profile === undefined ? [] : ['--ro-bind', files.profile, `${OWN}/seccomp`]),
    // The capabilities are given up again with the user, before the program starts.
    ...words('--remount-ro / --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP --'),
    ...words(
      `${OWN}/pause inside --env ${OWN}/env${container.tty ? ' --tty' : ''}${target ? ' --look' : ''}`,
    ),
    ...identityArgs(identity),
    ...(files.profile === undefined ? [] : ['--seccomp', `${OWN}/seccomp`]),
    '--cwd',
    workingFolder(container),
    '--',
    ...options.argv,
  ];
}

const volumeMounts = (list: readonly VolumeMount[]): string[] =>
  list.flatMap(({ source, path, readOnly }) => [
    ...foldersAbove(path),
    readOnly ? '--ro-bind' : '--bind',
    source,
    path,
  ]);

/** Those that are not there are made; bwrap by itself would make them for root alone. */
function foldersAbove(path: string): string[] {
  const steps = path.split('/').slice(1, -1);
  return steps.flatMap((_, i) => ['--perms', '0755', '--dir', `/${steps.slice(0, i + 1).join('/')}`]);
}
