/** A pod's processes for its worker: made when the pod starts, found again after a restart, ended and removed. */
import { join } from 'node:path';
import type { Pod, Service } from '../../api/types.ts';
import type { Clock } from '../../lib/clock.ts';
import type { ImageStore } from '../../image/store.ts';
import { below, type CgroupSet } from '../../kernel/cgroup-set.ts';
import { HeddleError } from '../../lib/errors.ts';
import { findContainer } from '../containers.ts';
import type { AttachTarget } from '../exec-attach.ts';
import type { CheckDeps } from '../health/check.ts';
import type { RuntimeTarget } from '../cri/attach.ts';
import { createCriLauncher } from '../cri/launcher.ts';
import type { CriNode, CriOptions } from '../cri/node.ts';
import { createOciLauncher } from '../oci/oci-launcher.ts';
import type { PodRecord } from '../records.ts';
import type { RuntimeStatus } from '../status.ts';
import { createJailLauncher } from './jail-launcher.ts';
import type { Launcher, Runner } from './launcher.ts';
import { createMachinery } from './machinery.ts';
import type { ObjectReaders } from './objects.ts';
import { createProcessPod, type ProcessPod } from './pod.ts';
import { ephemeralProblem } from '../refusal.ts';
import { loadState } from './state-file.ts';
import type { Container, EventType } from './types.ts';

export interface ProcessOptions {
  /** heddle-pause */
  program: string;
  /** For pods of images. */
  images: ImageStore;
  /** Folder of the node's profiles of system calls. */
  seccomp: string;
  /** Folder of the holders' sockets: private, its path short. */
  sockets: string;
  /** For pods of a container runtime. */
  cri: CriOptions;
  /** The cgroups that the pods' cgroups are made in. */
  cgroups: CgroupSet;
  objects: ObjectReaders;
  /** The services of a namespace, and the API server's own. */
  services?(namespace: string): readonly Service[];
  event?(pod: Pod, type: EventType, reason: string, message: string): void;
}

export interface AttachDeps {
  options: ProcessOptions;
  record(): PodRecord;
  pod(): Pod | undefined;
  folder: string;
  podLogs: string;
  hostAddresses: readonly string[];
  clusterDomain: string;
  connectTcp: CheckDeps['connectTcp'];
  cri(): CriNode;
  changed(): void;
  /** What the pod's containers run in has died alone. */
  sandboxLost(): void;
  clock: Clock;
}

export interface Entry {
  /** Runs in the agent's own namespaces and enters the container's. */
  argv: string[];
  env: Record<string, string>;
}

export interface PodProcesses {
  /** Once; `adopted`: an earlier agent had started it. */
  start(adopted: boolean, signal: AbortSignal): Promise<void>;
  readonly isStarted: boolean;
  /** The pod was changed. */
  update(): void;
  status(): RuntimeStatus | undefined;
  stop(graceMs: number): Promise<void>;
  /**
   * Of a pod that has lost its sandbox: all ends, and what it was in is removed; logs and counts of restarts stay for
   * whoever begins anew. False: its policy says that nothing does, and nothing is removed.
   */
  leaveSandbox(graceMs: number): Promise<boolean>;
  /** Processes, cgroup, logs. */
  dispose(): Promise<void>;
  /** @throws HeddleError `NoSuchContainer`, `ContainerNotRunning` */
  enter(container: string | undefined, argv: readonly string[], session: { tty: boolean }): Promise<Entry>;
  /** To a container that runs. @throws HeddleError `NoSuchContainer`, `ContainerNotRunning`, `AttachRefused` */
  attach(container: string | undefined, tty: boolean): AttachTarget | RuntimeTarget;
  /** Of the container's run, or the one before. @throws HeddleError `NoSuchContainer`, `NoPreviousRun` */
  log(container: string | undefined, previous: boolean): { path: string; running: boolean };
}

export function attachProcesses(deps: AttachDeps): PodProcesses {
  const { options, clock } = deps;
  let processes: ProcessPod | undefined;
  let running: Promise<void> | undefined;
  const { uid, namespace, name, netns } = deps.record();

  const podOrFail = (): Pod => {
    const pod = deps.pod();
    if (!pod)
      throw new HeddleError('PodNotHere', `pod ${namespace}/${name} is not known from the API server yet`);
    return pod;
  };
  const socketPath = join(options.sockets, `${uid}.sock`);
  const parts = { pod: podOrFail, program: options.program, folder: deps.folder, seccomp: options.seccomp };
  const made = launcherOf();
  const machinery = createMachinery({
    pod: podOrFail,
    ...made,
    program: options.program,
    folder: deps.folder,
    logs: join(deps.podLogs, `${namespace}_${name}_${uid}`),
    socketPath,
    netns,
    cgroups: below(options.cgroups, uid),
    addresses: () => deps.record().addresses ?? [],
    hostAddresses: deps.hostAddresses,
    clusterDomain: deps.clusterDomain,
    objects: options.objects,
    connectTcp: deps.connectTcp,
    services: () => options.services?.(namespace) ?? [],
    say(type, reason, message) {
      const pod = deps.pod();
      if (pod) options.event?.(pod, type, reason, message);
    },
    clock,
  });

  function launcherOf(): { launcher: Launcher; runner?: Runner } {
    const { runtime } = deps.record();
    if (runtime === 'oci') return { launcher: createOciLauncher({ ...parts, store: options.images }) };
    if (runtime !== 'cri') return { launcher: createJailLauncher(parts) };
    return createCriLauncher({
      ...parts,
      uid,
      node: deps.cri,
      cgroupMount: options.cgroups.mount,
      attempt: (container) => processes?.attempt(container) ?? 0,
      sandboxLost: deps.sandboxLost,
      clock,
    });
  }

  const find = (asked: string | undefined): Container => findContainer(podOrFail(), asked);

  /** @throws HeddleError `ContainerNotRunning` for one that was added and asks for what there is not */
  function refuseIfNotRun(container: Container): void {
    const pod = podOrFail();
    if (!pod.spec?.ephemeralContainers?.some(({ name: added }) => added === container.name)) return;
    const problem = ephemeralProblem(pod, container, deps.record().runtime);
    if (problem !== undefined) throw new HeddleError('ContainerNotRunning', problem);
  }

  function findRunning(asked: string | undefined): { container: Container; pid: number } {
    const container = find(asked);
    const pid = processes?.pid(container.name);
    if (pid !== undefined) return { container, pid };
    throw new HeddleError('ContainerNotRunning', `container ${container.name} of pod ${name} does not run`, {
      hint: 'kubectl describe pod says why',
    });
  }

  return {
    async start(adopted, signal) {
      if (processes) return;
      const saved = await loadState(deps.folder);
      processes = createProcessPod({
        pod: podOrFail,
        machinery,
        folder: deps.folder,
        startTime: Date.parse(deps.record().startTime),
        clock,
        ephemeralProblem: (pod, container) => ephemeralProblem(pod, container, deps.record().runtime),
        saved,
        adopted,
        changed: deps.changed,
      });
      running = processes.run(signal);
    },
    update: () => processes?.update(),
    get isStarted() {
      return processes !== undefined;
    },
    status: () => {
      const pod = deps.pod();
      return pod && processes?.status(pod);
    },
    async stop(graceMs) {
      await processes?.stop(graceMs);
    },
    async leaveSandbox(graceMs) {
      if (!processes) return false;
      const anew = processes.beginsAnew();
      await processes.stop(graceMs);
      if (!anew) return false;
      await running;
      await processes.saveForAnother();
      await machinery.release();
      return true;
    },
    dispose: machinery.dispose,
    async enter(asked, argv, session) {
      const { container, pid } = findRunning(asked);
      return machinery.enter(container, pid, argv, session);
    },
    attach(asked, tty) {
      const { container } = findRunning(asked);
      if (tty && !container.tty)
        throw new HeddleError('AttachRefused', `container ${container.name} of pod ${name} has no terminal`, {
          hint: 'leave -t away, or make the container with tty: true',
        });
      const takesInput = container.stdin === true;
      if (made.runner) {
        const { runner } = made;
        return {
          attach: (wanted) => runner.attach(container, wanted),
          takesInput,
          tty: container.tty === true,
        };
      }
      const id = `${container.name}.${processes?.attempt(container.name) ?? 0}`;
      return { holder: socketPath, id, takesInput };
    },
    log(asked, previous) {
      const container = find(asked);
      refuseIfNotRun(container);
      const { name: id } = container;
      const attempt = (previous ? processes?.attempt(id) : processes?.logged(id)) ?? 0;
      if (previous && attempt === 0)
        throw new HeddleError(
          'NoPreviousRun',
          `previous terminated container "${container.name}" in pod "${name}" not found`,
        );
      return {
        path: machinery.logFile(container.name, previous ? attempt - 1 : attempt),
        running: !previous && processes?.pid(container.name) !== undefined,
      };
    },
  };
}
