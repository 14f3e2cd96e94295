/** What this machine has, and has left: processors, memory, huge pages, a file system, numbers of processes. */
import { readdir, readFile, statfs } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

/** Of bytes, inodes or processes. */
export interface Extent {
  readonly capacity: number;
  readonly available: number;
}

export interface MachineRoom {
  /** Those that this process may use. */
  readonly cpus: number;
  readonly memory: Extent;
  /** The file system of the folder that was asked for; a capacity of 0 inodes where it does not count them. */
  readonly disk: Extent;
  readonly inodes: Extent;
  readonly pids: Extent;
  /** Bytes by name of the resource: `hugepages-2Mi`. */
  readonly hugePages: Readonly<Record<string, number>>;
}

/** @throws Error where the folder is not there, or /proc cannot be read */
export async function readMachineRoom(folder: string): Promise<MachineRoom> {
  const [disk, memory, pids, hugePages] = await Promise.all([
    statfs(folder),
    readFile('/proc/meminfo', 'utf8').then(memoryOf),
    readPids(),
    readHugePages('/sys/kernel/mm/hugepages'),
  ]);
  const { bsize, blocks, bavail, files, ffree } = disk;
  return {
    cpus: availableParallelism(),
    memory,
    disk: { capacity: blocks * bsize, available: bavail * bsize },
    inodes: { capacity: files, available: ffree },
    pids,
    hugePages,
  };
}

/** Of /proc/meminfo: what can be had without swapping (MemAvailable). */
export function memoryOf(text: string): Extent {
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024;
  return { capacity: bytes('MemTotal'), available: bytes('MemAvailable') };
}

/** As a kubelet counts: the lesser of both bounds, less what the kernel schedules (proc(5), loadavg). */
async function readPids(): Promise<Extent> {
  const read = (path: string) => readFile(`/proc/${path}`, 'utf8');
  const [most, threads, load] = await Promise.all([
    read('sys/kernel/pid_max'),
    read('sys/kernel/threads-max'),
    read('loadavg'),
  ]);
  const capacity = Math.min(Number(most), Number(threads));
  return { capacity, available: capacity - Number(/\/(\d+) /.exec(load)?.[1] ?? 0) };
}

/** `hugepages-2048kB/nr_hugepages`; none where the kernel has none. */
async function readHugePages(folder: string): Promise<Record<string, number>> {
  const sizes = await readdir(folder).catch(() => []);
  const found = await Promise.all(
    sizes.map(async (name): Promise<[string, number][]> => {
      const kilobytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1]);
      const count = Number(await readFile(join(folder, name, 'nr_hugepages'), 'utf8').catch(() => ''));
      return kilobytes > 0 ? [[`hugepages-${pageSize(kilobytes)}`, count * kilobytes * 1024]] : [];
    }),
  );
  return Object.fromEntries(found.flat());
}

function pageSize(kilobytes: number): string {
  if (kilobytes % 2 ** 20 === 0) return `${kilobytes / 2 ** 20}Gi`;
  return kilobytes % 1024 === 0 ? `${kilobytes / 1024}Mi` : `${kilobytes}Ki`;
}
