/**
 * The command line that shuts a program into a pod: the pod's network, its own processes, host name and /etc, a
 * user id of its own, and of the host's files only what an ordinary program needs, read-only.
 */
import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import type { PodFiles } from './files.ts';

export interface JailOptions {
  hostname: string;
  files: PodFiles;
  userId: number;
  env: Readonly<Record<string, string>>;
  argv: readonly string[];
  /** heddle-pause, which watches the program. */
  pause: string;
  /** In a terminal of its own. */
  tty: boolean;
}

/** Where the program's first process is, as it is seen inside. */
const PAUSE = '/.heddle/pause';

/** Folders that merged-usr systems have as links; each is taken over as it is. */
const TOP = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
/** Of /etc: what names services, finds libraries and trusts certificates. No accounts, no secrets. */
const ETC = [
  '/etc/nsswitch.conf',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
  '/etc/ca-certificates.conf',
  '/etc/alternatives',
  '/etc/ld.so.cache',
  '/etc/ld.so.conf',
  '/etc/ld.so.conf.d',
  '/etc/protocols',
  '/etc/services',
  '/etc/localtime',
  '/etc/mime.types',
];

export function jailed(options: JailOptions): string[] {
  const { files, userId } = options;
  const id = String(userId);
  return [
    'bwrap',
    '--unshare-pid',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-cgroup-try',
    '--die-with-parent',
    '--new-session',
    '--hostname',
    options.hostname,
    ...hostFolders(files),
    '--proc',
    '/proc',
    '--dev',
    '/dev',
    ...['/tmp', '/run', '/home', '/root', '/var/tmp'].flatMap((path) => [
      '--perms',
      '1777',
      '--size',
      '67108864',
      '--tmpfs',
      path,
    ]),
    '--chdir',
    '/home',
    '--clearenv',
    ...Object.entries(options.env).flatMap(([name, value]) => ['--setenv', name, value]),
    '--perms',
    '0755',
    '--dir',
    '/.heddle',
    '--ro-bind',
    options.pause,
    PAUSE,
    // setpriv gives them up again, with the user id. Who watches the program may signal it.
    ...['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP', 'CAP_KILL'].flatMap((name) => ['--cap-add', name]),
    '--',
    PAUSE,
    'session',
    '--control',
    ...(options.tty ? ['--tty'] : []),
    '--user',
    `${id}:${id}`,
    '--group',
    `${id}:${id}`,
    '--',
    'setpriv',
    '--reuid',
    id,
    '--regid',
    id,
    '--clear-groups',
    '--no-new-privs',
    '--inh-caps=-all',
    '--bounding-set=-all',
    '--',
    ...options.argv,
  ];
}

/** What of the host's file system every program of a pod sees, read-only, and the files of /etc that are the pod's own. */
export function hostFolders(files: PodFiles): string[] {
  return [
    '--ro-bind',
    '/usr',
    '/usr',
    ...TOP.flatMap(topFolder),
    // Folders that bwrap makes by itself are closed to others than root.
    ...['/etc', '/etc/ssl', '/var'].flatMap((path) => ['--perms', '0755', '--dir', path]),
    ...ETC.filter((path) => existsSync(path)).flatMap((path) => ['--ro-bind', path, path]),
    '--ro-bind',
    files.resolvConf,
    '/etc/resolv.conf',
    '--ro-bind',
    files.hosts,
    '/etc/hosts',
    '--ro-bind',
    files.hostname,
    '/etc/hostname',
    '--ro-bind',
    files.passwd,
    '/etc/passwd',
    '--ro-bind',
    files.group,
    '/etc/group',
  ];
}

function topFolder(path: string): string[] {
  try {
    return lstatSync(path).isSymbolicLink()
      ? ['--symlink', readlinkSync(path), path]
      : ['--ro-bind', path, path];
  } catch {
    return [];
  }
}
