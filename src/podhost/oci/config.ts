/** The config.json that runc reads (runtime-spec 1.0.2). Pure. */
import type { Container } from '../process/types.ts';
import { runcSeccomp } from '../seccomp/profile.ts';
import type { Seccomp } from '../seccomp/wanted.ts';
import { capabilitiesOf } from './capabilities.ts';
import { hostDevices } from './devices.ts';
import { defaultSeccomp } from './seccomp.ts';
import type { ContainerUser } from './user.ts';

export interface Mount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

export interface ConfigOptions {
  container: Container;
  user: ContainerUser;
  env: Readonly<Record<string, string>>;
  argv: readonly string[];
  cwd: string;
  /** The first of the pod's ids. */
  base: number;
  /** Where the file system is made: see native/pause-oci.c. */
  stage: string;
  seccomp: Seccomp;
  /** `linux.resources`. */
  resources: object;
  /** With the pod's other containers. */
  sharesProcesses: boolean;
  /** Volumes and files, outer ones first. */
  mounts: readonly Mount[];
  /** Of a container whose processes it joins. */
  targetPid?: number;
}

export const ID_COUNT = 65_536;

/** As container runtimes have them for pods of Kubernetes. */
export const MASKED = `
  /proc/asound /proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list
  /proc/timer_stats /proc/sched_debug /proc/scsi /proc/interrupts /sys/firmware
  /sys/devices/virtual/powercap
`
  .trim()
  .split(/\s+/);
export const READ_ONLY = `
  /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger
`
  .trim()
  .split(/\s+/);

const SAFE = ['nosuid', 'noexec', 'nodev'];

const basicMounts = (stage: string, isPrivileged: boolean): Mount[] => [
  { destination: '/proc', type: 'proc', source: 'proc', options: SAFE },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: [...SAFE, 'mode=1777', 'size=65536k'] },
  { destination: '/dev/mqueue', type: 'bind', source: `${stage}/mqueue`, options: ['rbind', ...SAFE] },
  {
    destination: '/sys',
    type: 'bind',
    source: `${stage}/sys`,
    options: ['rbind', isPrivileged ? 'rw' : 'ro', ...SAFE],
  },
  {
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: [...SAFE, 'relatime', isPrivileged ? 'rw' : 'ro'],
  },
];

export const mayGainPrivileges = ({ securityContext }: Container): boolean =>
  securityContext?.allowPrivilegeEscalation !== false;

function seccompPart(wanted: Seccomp): { seccomp?: object } {
  if (wanted === 'unconfined') return {};
  return { seccomp: wanted === 'default' ? defaultSeccomp() : runcSeccomp(wanted) };
}

/** All of the machine, and no users of its own. */
const privilegedPart = (resources: object): object => ({
  devices: hostDevices(),
  resources: { ...resources, devices: [{ allow: true, access: 'rwm' }] },
});

function pidNamespace({ targetPid, sharesProcesses, stage }: ConfigOptions): { type: string; path?: string } {
  if (targetPid !== undefined) return { type: 'pid', path: `/proc/${targetPid}/ns/pid` };
  return sharesProcesses ? { type: 'pid', path: `${stage}/pids` } : { type: 'pid' };
}

export function runtimeConfig(options: ConfigOptions): object {
  const { container, user, stage, base, targetPid } = options;
  const capabilities = capabilitiesOf(container.securityContext);
  const isPrivileged = container.securityContext?.privileged === true;
  const ids = [{ containerID: 0, hostID: base, size: ID_COUNT }];
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: container.tty === true,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
      args: options.argv,
      env: Object.entries(options.env).map(([name, value]) => `${name}=${value}`),
      cwd: options.cwd,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: !mayGainPrivileges(container),
    },
    root: { path: `${stage}/rootfs`, readonly: container.securityContext?.readOnlyRootFilesystem === true },
    mounts: [...basicMounts(stage, isPrivileged), ...options.mounts],
    linux: {
      // The pod's network, IPC and host name are those that runc is started in.
      namespaces: [
        pidNamespace(options),
        ...['mount', 'cgroup'].map((type) => ({ type })),
        // Made by heddle-pause: it holds all users of the pod together to a number of processes. Processes belong to
        // the user namespace that they were made in.
        ...(isPrivileged
          ? []
          : [
              {
                type: 'user',
                path: targetPid === undefined ? `${stage}/users` : `/proc/${targetPid}/ns/user`,
              },
            ]),
      ],
      ...(isPrivileged ? {} : { uidMappings: ids, gidMappings: ids }),
      // Below the container's own cgroup, which is all that runc sees.
      cgroupsPath: '/box',
      ...(isPrivileged ? privilegedPart(options.resources) : { resources: options.resources }),
      ...seccompPart(options.seccomp),
      ...(isPrivileged ? {} : { maskedPaths: MASKED, readonlyPaths: READ_ONLY }),
    },
  };
}
