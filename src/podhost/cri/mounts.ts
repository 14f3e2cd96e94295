/**
 * A pod's volumes where a container runtime finds them by their names. What lies in a volume that programs write in, and
 * files of the machine, are opened by `heddle-pause stage`, which no link leads astray, and mounted below the cluster's
 * run directory, for the runtime follows links; volumes in memory are mounted there too.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../api/types.ts';
import { isMountPoint, mountMemory, unmountLazy } from '../../kernel/mount.ts';
import { run } from '../../kernel/spawn.ts';
import { CreateError } from '../process/environment.ts';
import type { VolumeOwners } from '../process/launcher.ts';
import { stageFolder, stagingOf, type VolumeMount } from '../process/stage.ts';
import type { Container } from '../process/types.ts';
import { memoryVolumes } from '../process/volumes.ts';

export interface CriMounts {
  /** Of one run of the container, outer ones first. @throws ConfigError */
  volumesOf(container: Container, env: Readonly<Record<string, string>>): Promise<VolumeMount[]>;
  /** All of the pod's. */
  remove(): void;
}

export interface CriMountsDeps {
  pod(): Pod;
  /** heddle-pause */
  program: string;
  uid: string;
  /** The pod's own folder. */
  folder: string;
  owners: VolumeOwners;
  /** Folder of the node's. */
  at(): string;
}

export function createMounts({ pod, program, uid, folder, owners, at }: CriMountsDeps): CriMounts {
  const memoryAt = (volume: string): string => join(at(), `${uid}.v.${volume}`);

  /** They live as long as the pod, whoever is started anew. */
  function mountMemories(): void {
    for (const { name, options } of memoryVolumes(pod(), owners)) {
      const path = memoryAt(name);
      if (isMountPoint(path)) continue;
      mkdirSync(path, { recursive: true });
      mountMemory(path, options);
    }
  }

  const isMemory = (volume: string): boolean =>
    memoryVolumes(pod(), owners).some(({ name }) => name === volume);

  /** What was staged for an earlier run goes: nothing of it runs. */
  async function stageAt(stage: string, words: readonly string[]): Promise<void> {
    removeMount(stage);
    mkdirSync(stage, { recursive: true });
    const { code, stderr } = await run([program, 'stage', '--here', stage, ...words, '--'], {
      timeoutMs: 60_000,
    });
    if (code !== 0) throw new CreateError(stderr.trim() || `heddle-pause stage ended with ${code}`);
  }

  return {
    async volumesOf(container, env) {
      mountMemories();
      const place = (volume: string) => (isMemory(volume) ? memoryAt(volume) : undefined);
      const { mounts, stage } = stagingOf({ pod: pod(), container, folder, env, place });
      if (!stage) return mounts;
      const [nominal = stageFolder(folder), ...words] = stage;
      const own = join(at(), `${uid}.c.${container.name}`);
      await stageAt(own, words);
      return mounts.map((one) =>
        one.source.startsWith(`${nominal}/`)
          ? { ...one, source: own + one.source.slice(nominal.length) }
          : one,
      );
    },
    remove() {
      if (!existsSync(at())) return;
      for (const name of readdirSync(at())) if (name.startsWith(`${uid}.`)) removeMount(join(at(), name));
    },
  };
}

/** Never more than an empty folder: what is mounted may be the machine's. */
function removeMount(path: string): void {
  unmountLazy(path);
  if (existsSync(path)) rmdirSync(path);
}
