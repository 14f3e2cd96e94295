/** Containers of a container runtime: it makes their file system, starts them and writes their logs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../api/types.ts';
import { CriFailure } from '../../cri/client.ts';
import { POD_LABEL, removeSandboxes } from '../../cri/sandboxes.ts';
import type { ContainerConfig } from '../../cri/types.ts';
import type { Clock } from '../../lib/clock.ts';
import { HeddleError } from '../../lib/errors.ts';
import { capabilityMask } from '../oci/capabilities.ts';
import { refuseNul } from '../oci/oci-launcher.ts';
import { ConfigError } from '../process/environment.ts';
import type { Launcher, Runner } from '../process/launcher.ts';
import { containerConfig } from './config.ts';
import { createImages } from './images.ts';
import { parseInfo } from './info.ts';
import type { CriNode } from './node.ts';
import { createMounts } from './mounts.ts';
import { type CriPause, openCriPause } from './pause.ts';
import { createProfiles } from './profiles.ts';
import { loadSandbox } from './sandbox-file.ts';
import { openStreams } from './streaming.ts';

export interface CriLauncherDeps {
  pod(): Pod;
  uid: string;
  node(): CriNode;
  /** heddle-pause */
  program: string;
  /** The pod's own folder. */
  folder: string;
  /** Folder of the node's profiles of system calls. */
  seccomp: string;
  cgroupMount: string;
  /** Attempt that runs or ran last. */
  attempt(container: string): number;
  /** Its sandbox has died. */
  sandboxLost(): void;
  clock: Clock;
}

const TERM = 15;

export function createCriLauncher(deps: CriLauncherDeps): { launcher: Launcher; runner: Runner } {
  const { uid, folder } = deps;
  const prepared = new Map<string, ContainerConfig>();
  const owners = { owner: 0, group: (id: number) => id };
  const { pod, program } = deps;
  const mounts = createMounts({ pod, program, uid, folder, owners, at: () => deps.node().mounts });
  const profiles = createProfiles(folder, deps.seccomp);
  const labels = () => ({ ...deps.node().labels, [POD_LABEL]: uid });
  let pause: CriPause | undefined;
  let images: ReturnType<typeof createImages> | undefined;
  const idOf = (container: string) => `${container}.${deps.attempt(container)}`;
  const containerId = (container: string): string => {
    const id = pause?.containerId(idOf(container));
    if (id !== undefined) return id;
    throw new ConfigError(`container ${container} was not started`);
  };

  const launcher: Launcher = {
    limitsItself: true,
    owners: async () => owners,
    async begin(container) {
      const saved = loadSandbox(folder);
      if (!saved) throw new ConfigError('the pod has no sandbox');
      images ??= createImages(deps.node().cri, deps.clock);
      const image = await images.of(container, saved.config);
      return {
        base: {},
        argv: () => [],
        user: undefined,
        async command(made) {
          refuseNul({ ...made, argv: [...(container.command ?? []), ...(container.args ?? [])] });
          const config = containerConfig({
            pod: deps.pod(),
            container,
            image,
            made,
            attempt: deps.attempt(container.name),
            folder,
            volumes: await mounts.volumesOf(container, made.env),
            seccomp: await profiles.of(deps.pod(), container),
            labels: labels(),
          });
          prepared.set(idOf(container.name), config);
          return [];
        },
      };
    },
    async enter(container) {
      const { info } = await deps.node().cri.containerStatus(containerId(container.name));
      const { pid, process } = parseInfo(info);
      const group = cgroupOf(pid);
      if (!process || group === undefined)
        throw new HeddleError('ExecFailed', 'the container runtime does not tell where the container runs', {
          hint: 'containerd and CRI-O with runc do',
        });
      const pair = (id: number) => `${id}:${id}`;
      const { uid: user = 0, gid = 0, additionalGids = [] } = process.user ?? {};
      return [
        join(deps.cgroupMount, group),
        '--user',
        pair(user),
        '--group',
        pair(gid),
        ...(additionalGids.length > 0 ? ['--groups', additionalGids.map(pair).join(',')] : []),
        '--capabilities',
        capabilityMask(process.capabilities?.bounding ?? []),
        ...(process.noNewPrivileges ? [] : ['--new-privileges']),
        ...profiles.toEnter(deps.pod(), container),
        '--cwd',
        process.cwd ?? '/',
      ];
    },
    // The runtime knows the image's, and sends it.
    processesOf: (cgroup) => cgroup,
    stopSignal: async () => TERM,
    // Its files are in containerd's snapshots: what is written there is not counted.
    layers: () => [],
    imageId: (container) => pause?.imageRef(idOf(container)) ?? '',
    async remove() {
      if (!loadSandbox(folder)) return;
      await removeSandboxes(deps.node().cri, labels());
      mounts.remove();
    },
  };

  const runner: Runner = {
    async open(signal) {
      const { cri, watch } = deps.node();
      const config = (id: string): ContainerConfig => prepared.get(id)!;
      const { clock, sandboxLost } = deps;
      const pauseDeps = { uid, folder, cri, watch, prepared: config, sandboxLost, clock };
      return (pause = await openCriPause(pauseDeps, signal));
    },
    ranOutOfMemory: (container) => pause?.outOfMemory(idOf(container)) ?? false,
    async exec(container, argv, { timeoutMs, signal }) {
      try {
        const { stdout, stderr, exitCode } = await deps
          .node()
          .cri.execSync(containerId(container.name), argv, timeoutMs, signal);
        if (exitCode === 0) return undefined;
        const words = Buffer.concat([stdout, stderr]).toString('utf8').trim().slice(0, 1024);
        return `command ended with ${exitCode}${words === '' ? '' : `: ${words}`}`;
      } catch (error) {
        if (error instanceof CriFailure) return error.message;
        throw error;
      }
    },
    async attach(container, wanted) {
      const { cri } = deps.node();
      return openStreams(cri.endpoint, await cri.attach(containerId(container.name), wanted));
    },
    kill() {
      for (const { name } of [
        ...(deps.pod().spec?.containers ?? []),
        ...(deps.pod().spec?.initContainers ?? []),
      ])
        pause?.kill(idOf(name), 9);
    },
  };
  return { launcher, runner };
}

/** Of cgroup2, below its mount. */
function cgroupOf(pid: number): string | undefined {
  try {
    return /^0::(\/.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}
