/** What makes a container's file system and starts its program: the one thing in which runtimes of programs differ. */
import type { CgroupSet } from '../../kernel/cgroup-set.ts';
import type { Upgraded } from '../cri/streaming.ts';
import type { ContainerFiles } from './argv.ts';
import type { Pause } from './pause.ts';
import type { Container } from './types.ts';

/** For programs that nobody else gives one. */
export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface Launcher {
  /** Limits of cgroup2 are its own to set: the container's group is below the one that it starts in. */
  readonly limitsItself: boolean;
  /** Who owns what the agent writes into the pod's volumes, and the id of the pod's group `id`: as the host's files know them. */
  owners(): Promise<VolumeOwners>;
  /** Before anything of a run is made. @throws ConfigError while something it needs is missing */
  begin(container: Container): Promise<Plan>;
  /** Arguments of `heddle-pause enter PID`, up to the program; `cgroup` is the container's. */
  enter(container: Container, cgroup: string): Promise<string[]>;
  /** Where the container's own processes are, below its cgroup. */
  processesOf(cgroup: string): string;
  /** The signal that asks a container to end. */
  stopSignal(container: Container): Promise<number>;
  /** Folders on disk of what a container has written to its own files. */
  layers(container: string): readonly string[];
  /** `imageID` of a container that runs or ran. */
  imageId(container: string): string;
  /** Removes what it made for the pod and is not in its folder. */
  remove(): Promise<void>;
}

export interface VolumeOwners {
  owner: number;
  group(id: number): number;
  /** Who all containers of the pod are, where they are one. */
  onlyUser?(): number | undefined;
}

/** One run to be. */
export interface Plan {
  /** Variables that the container's own may replace. */
  base: Readonly<Record<string, string>>;
  /** What is to run, from the container's `command` and `args`. @throws ConfigError */
  argv(env: Readonly<Record<string, string>>): string[];
  /** Who writes the last word, as the host's files know it; undefined: only the image's files say. */
  user: number | undefined;
  /** What the holder runs. @throws ConfigError */
  command(made: Made): Promise<string[]>;
}

export interface Made {
  env: Readonly<Record<string, string>>;
  argv: readonly string[];
  files: ContainerFiles;
  /** The container's. */
  groups: CgroupSet;
  /** Its adjustment of the score when the machine is short of memory. */
  score: number;
  /** The container whose processes it joins, for looking into it. */
  target?: Target;
}

/** A container that runs. */
export interface Target {
  /** Of its first process. */
  pid: number;
  cgroup: string;
}

/** `argv` in groups of cgroup v1, with that score: see native/pause-join.c. */
export const joined = (
  program: string,
  { score, groups = [] }: { score: number; groups?: readonly string[] },
  argv: readonly string[],
): string[] => [program, 'join', '--oom', String(score), ...groups, '--', ...argv];

/** What holds a pod's containers in place of heddle-pause: their processes, cgroups and limits are its own. */
export interface Runner {
  /** Rejects when `signal` aborts. */
  open(signal: AbortSignal): Promise<Pause>;
  ranOutOfMemory(container: string): boolean;
  /** Undefined when it ended with 0, else what came of it. */
  exec(
    container: Container,
    argv: readonly string[],
    limit: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<string | undefined>;
  /** The streams of a container that runs. @throws HeddleError */
  attach(container: Container, wanted: { stdin: boolean; tty: boolean }): Promise<Upgraded>;
  /** All containers, at once. */
  kill(): void;
}
