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
  type SecurityProfile,
} from '../../cri/types.ts';
import { podFiles } from '../files.ts';
import { plainCapability } from '../oci/capabilities.ts';
import { MASKED, READ_ONLY } from '../oci/config.ts';
import { ConfigError, expand } from '../process/environment.ts';
import type { Made } from '../process/launcher.ts';
import { containerLimits, oomScore } from '../process/limits.ts';
import type { Container } from '../process/types.ts';
import type { VolumeMount } from '../process/stage.ts';

export interface ConfigSources {
  pod: Pod;
  container: Container;
  image: Image;
  made: Made;
  attempt: number;
  /** The pod's own folder. */
  folder: string;
  /** Outer ones first (mounts.ts). */
  volumes: readonly VolumeMount[];
  seccomp: SecurityProfile;
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
    linux: { resources: resourcesOf(pod, container), securityContext: securityOf(sources) },
  };
}

const within = (path: string): string => normalize(`/${path}`).replace(/(.)\/$/, '$1');
/** Outer ones first, and the last word over whatever a volume puts there. */
function mountsOf({ container, folder, volumes, made }: ConfigSources): Mount[] {
  const files = podFiles(folder);
  const readOnly = (hostPath: string, containerPath: string) => ({ hostPath, containerPath, readonly: true });
  return [
    readOnly(files.resolvConf, '/etc/resolv.conf'),
    readOnly(files.hosts, '/etc/hosts'),
    readOnly(files.hostname, '/etc/hostname'),
    ...volumes.map(({ source, path, readOnly: readonly }) => ({
      hostPath: source,
      containerPath: path,
      readonly,
    })),
    {
      hostPath: made.files.termination,
      containerPath: within(container.terminationMessagePath || '/dev/termination-log'),
      readonly: false,
    },
  ];
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

function securityOf({ pod, container, image, seccomp }: ConfigSources): ContainerSecurity {
  const all = pod.spec?.securityContext ?? {};
  const own = container.securityContext ?? {};
  const { add = [], drop = [] } = own.capabilities ?? {};
  const privileged = own.privileged === true;
  return {
    ...whoOf(pod, container, image),
    privileged,
    capabilities: { addCapabilities: add.map(plainCapability), dropCapabilities: drop.map(plainCapability) },
    namespaceOptions: { network: NamespaceMode.pod, pid: pidMode(pod), ipc: NamespaceMode.pod },
    readonlyRootfs: own.readOnlyRootFilesystem === true,
    supplementalGroups: [
      ...(all.supplementalGroups ?? []),
      ...(all.fsGroup === undefined ? [] : [all.fsGroup]),
    ],
    noNewPrivs: own.allowPrivilegeEscalation === false,
    maskedPaths: privileged ? [] : MASKED,
    readonlyPaths: privileged ? [] : READ_ONLY,
    seccomp,
  };
}

/** The runtime takes such containers into no other sandbox. */
export const isPrivileged = ({ spec }: Pod): boolean =>
  [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].some(
    ({ securityContext }) => securityContext?.privileged,
  );

/** Whether the pod's containers see each other's processes. */
export const pidMode = ({ spec }: Pod): number =>
  spec?.shareProcessNamespace ? NamespaceMode.pod : NamespaceMode.container;

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
