/** A container as the CRI is asked for it. Pure. */
import { totalmem } from 'node:os';
import { join, normalize } from 'node:path';
import type { Pod } from '../../api/types.ts';
import {
  type ContainerConfig,
  type ContainerResources,
  type ContainerSecurity,
  type Image,
  type Mount,
  NamespaceMode,
  ProfileType,
} from '../../cri/types.ts';
import { podFiles } from '../files.ts';
import { MASKED, READ_ONLY } from '../oci/config.ts';
import { ConfigError, expand } from '../process/environment.ts';
import type { Made } from '../process/launcher.ts';
import { containerLimits, oomScore } from '../process/limits.ts';
import type { Container } from '../process/types.ts';
import { isUnconfined } from '../seccomp/wanted.ts';
import { isWritten, volumeFolder } from '../process/volumes.ts';

export interface ConfigSources {
  pod: Pod;
  container: Container;
  image: Image;
  made: Made;
  attempt: number;
  /** The pod's own folder. */
  folder: string;
  labels: Readonly<Record<string, string>>;
}

/** @throws ConfigError in the words of a kubelet */
export function containerConfig(sources: ConfigSources): ContainerConfig {
  const { pod, container, image, made, attempt, labels } = sources;
  const expanded = (list: readonly string[] | undefined) =>
    (list ?? []).map((word) => expand(word, made.env));
  const { name, workingDir, stdin = false, stdinOnce = false, tty = false } = container;
  return {
    metadata: { name, attempt },
    image: { image: image.id },
    command: expanded(container.command),
    args: expanded(container.args),
    ...(workingDir ? { workingDir } : {}),
    envs: Object.entries(made.env).map(([key, value]) => ({ key, value })),
    mounts: mountsOf(sources),
    labels: { ...labels, 'io.kubernetes.container.name': name },
    logPath: join(name, `${attempt}.log`),
    stdin,
    stdinOnce,
    tty,
    linux: { resources: resourcesOf(pod, container), securityContext: securityOf(pod, container, image) },
  };
}

const within = (path: string): string => normalize(`/${path}`).replace(/(.)\/$/, '$1');
const depth = ({ containerPath }: Mount): number => containerPath.split('/').length;

/** Outer ones first, and the last word over whatever a volume puts there. */
function mountsOf({ container, folder, pod, made }: ConfigSources): Mount[] {
  const files = podFiles(folder);
  const readOnly = (hostPath: string, containerPath: string) => ({ hostPath, containerPath, readonly: true });
  return [
    readOnly(files.resolvConf, '/etc/resolv.conf'),
    readOnly(files.hosts, '/etc/hosts'),
    readOnly(files.hostname, '/etc/hostname'),
    ...(container.volumeMounts ?? [])
      .map((mount) => volumeMount(pod, mount, folder, made.env))
      .toSorted((a, b) => depth(a) - depth(b)),
    {
      hostPath: made.files.termination,
      containerPath: within(container.terminationMessagePath || '/dev/termination-log'),
      readonly: false,
    },
  ];
}

/** What lies in a volume that programs write in is refused before (refusal.ts): the runtime follows links there. */
function volumeMount(
  pod: Pod,
  { name, mountPath, subPath, subPathExpr, readOnly }: NonNullable<Container['volumeMounts']>[number],
  folder: string,
  env: Readonly<Record<string, string>>,
): Mount {
  const volume = pod.spec?.volumes?.find((one) => one.name === name);
  const inner = subPathExpr === undefined ? (subPath ?? '') : expand(subPathExpr, env);
  if (inner.split('/').includes('..') || inner.startsWith('/'))
    throw new ConfigError(`subPathExpr of ${name} became "${inner}"`);
  return {
    hostPath: join(volumeFolder(folder, name), inner),
    containerPath: within(mountPath),
    readonly: readOnly === true || (volume !== undefined && isWritten(volume)),
  };
}

/** Microseconds that a share of processors is given out in. */
const PERIOD = 100_000;

function resourcesOf(pod: Pod, container: Container): ContainerResources {
  const { memory, cpu, shares } = containerLimits(container);
  return {
    cpuShares: shares,
    ...(cpu === undefined ? {} : { cpuPeriod: PERIOD, cpuQuota: Math.max(1000, Math.floor(cpu * PERIOD)) }),
    ...(memory === undefined ? {} : { memoryLimitInBytes: Math.floor(memory) }),
    oomScoreAdj: oomScore(pod, container, totalmem()),
  };
}

function securityOf(pod: Pod, container: Container, image: Image): ContainerSecurity {
  const all = pod.spec?.securityContext ?? {};
  const own = container.securityContext ?? {};
  const { add = [], drop = [] } = own.capabilities ?? {};
  const unconfined = isUnconfined(pod, container);
  return {
    ...whoOf(pod, container, image),
    capabilities: { addCapabilities: add.map(plain), dropCapabilities: drop.map(plain) },
    namespaceOptions: { network: NamespaceMode.pod, pid: pidMode(pod), ipc: NamespaceMode.pod },
    readonlyRootfs: own.readOnlyRootFilesystem === true,
    supplementalGroups: [
      ...(all.supplementalGroups ?? []),
      ...(all.fsGroup === undefined ? [] : [all.fsGroup]),
    ],
    noNewPrivs: own.allowPrivilegeEscalation === false,
    maskedPaths: MASKED,
    readonlyPaths: READ_ONLY,
    seccomp: { profileType: unconfined ? ProfileType.unconfined : ProfileType.runtimeDefault },
  };
}

/** Whether the pod's containers see each other's processes. */
export const pidMode = ({ spec }: Pod): number =>
  spec?.shareProcessNamespace ? NamespaceMode.pod : NamespaceMode.container;

const plain = (name: string): string => name.toUpperCase().replace(/^CAP_/, '');

function whoOf(
  pod: Pod,
  container: Container,
  image: Image,
): Pick<ContainerSecurity, 'runAsUser' | 'runAsGroup' | 'runAsUsername'> {
  const all = pod.spec?.securityContext ?? {};
  const own = container.securityContext ?? {};
  const asked = own.runAsUser ?? all.runAsUser;
  const group = own.runAsGroup ?? all.runAsGroup;
  checkRoot(pod, container, image, asked);
  return {
    ...(asked !== undefined
      ? { runAsUser: { value: asked } }
      : image.uid
        ? { runAsUser: image.uid }
        : image.username === ''
          ? { runAsUser: { value: 0 } }
          : { runAsUsername: image.username }),
    ...(group === undefined ? {} : { runAsGroup: { value: group } }),
  };
}

function checkRoot(pod: Pod, container: Container, image: Image, asked: number | undefined): void {
  const mustNot = container.securityContext?.runAsNonRoot ?? pod.spec?.securityContext?.runAsNonRoot ?? false;
  if (!mustNot) return;
  if (asked === undefined && image.username !== '')
    throw new ConfigError(
      `container has runAsNonRoot and image has non-numeric user (${image.username}), cannot verify user is non-root`,
    );
  if ((asked ?? image.uid?.value ?? 0) === 0)
    throw new ConfigError('container has runAsNonRoot and image will run as root');
}
