/** What a pod takes of the node's disk, and what it may take: local ephemeral storage, as a kubelet counts it. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from '../../kernel/remove-tree.ts';
import { binaryQuantity, quantityValue } from '../../api/quantity.ts';
import type { Pod } from '../../api/types.ts';
import type { Container } from './types.ts';

export interface DiskFolders {
  volume(name: string): string;
  /** Everything that a container writes to beside its volumes: its own files, its logs. */
  container(name: string): readonly string[];
}

/** What one container may write that asks for no limit, that the machine's disk is not at its mercy. */
export const DEFAULT_CONTAINER_LIMIT = '10Gi';
const EPHEMERAL = 'ephemeral-storage';
/** Bytes that stat counts blocks in. */
const BLOCK = 512;

/** Those in memory hold no more than their limit. */
const onDisk = ({ spec }: Pod) =>
  (spec?.volumes ?? []).filter(({ emptyDir }) => emptyDir && emptyDir.medium !== 'Memory');

const containersOf = ({ spec }: Pod): Container[] => [
  ...(spec?.initContainers ?? []),
  ...(spec?.containers ?? []),
];

/** As it was written, and in bytes; 0 is no limit. */
function limitOf(asked: unknown): { asked: string; bytes: number } | undefined {
  if (typeof asked !== 'string' && typeof asked !== 'number') return undefined;
  const bytes = quantityValue(asked) ?? 0;
  return bytes > 0 ? { asked: String(asked), bytes } : undefined;
}

const ownLimit = ({ resources }: Container) => limitOf(resources?.limits?.[EPHEMERAL]);

/** Whether it names a limit of its own: such are looked at more often. */
export const hasDiskLimits = (pod: Pod): boolean =>
  onDisk(pod).some(({ emptyDir }) => limitOf(emptyDir?.sizeLimit)) || containersOf(pod).some(ownLimit);

/** Why the pod is to be evicted, in a kubelet's words; its volumes first, then all of it, then each container. */
export async function overuse(
  pod: Pod,
  folders: DiskFolders,
  signal: AbortSignal,
): Promise<string | undefined> {
  const volumes = onDisk(pod);
  for (const { name, emptyDir } of volumes) {
    const limit = limitOf(emptyDir?.sizeLimit);
    if (limit && (await isAbove([folders.volume(name)], limit.bytes, signal)))
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit.asked}". `;
  }
  const containers = containersOf(pod);
  const total = totalLimit(pod);
  const all = [
    ...volumes.map(({ name }) => folders.volume(name)),
    ...containers.flatMap(({ name }) => folders.container(name)),
  ];
  if (total > 0 && (await isAbove(all, total, signal)))
    return `Pod ephemeral local storage usage exceeds the total limit of containers ${binaryQuantity(total)}. `;
  for (const container of containers) {
    const limit = ownLimit(container) ?? limitOf(DEFAULT_CONTAINER_LIMIT)!;
    if (await isAbove(folders.container(container.name), limit.bytes, signal))
      return `Container ${container.name} exceeded its local ephemeral storage limit "${limit.asked}". `;
  }
  return undefined;
}

/** Of the containers that have one together, or of an init container that has more. */
function totalLimit({ spec }: Pod): number {
  const bytes = (one: Container) => ownLimit(one)?.bytes ?? 0;
  const main = (spec?.containers ?? []).reduce((sum, one) => sum + bytes(one), 0);
  const inits = spec?.initContainers ?? [];
  const sidecars = inits
    .filter(({ restartPolicy }) => restartPolicy === 'Always')
    .reduce((sum, one) => sum + bytes(one), 0);
  return Math.max(main + sidecars, ...inits.map(bytes));
}

/** By the blocks that the files take; no further than it needs to know, and never through a link. */
export async function isAbove(
  roots: readonly string[],
  bytes: number,
  signal: AbortSignal,
): Promise<boolean> {
  let used = 0;
  const folders = [...roots];
  // What goes while it is looked at takes no room any more.
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    signal.throwIfAborted();
    for (const entry of await readdir(at, { withFileTypes: true }).catch(() => [])) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) folders.push(path);
      used += ((await lstat(path).catch(() => undefined))?.blocks ?? 0) * BLOCK;
      if (used > bytes) return true;
    }
  }
  return false;
}

/** What a pod wrote goes, but for its logs, when none of its programs runs any more. */
export async function giveRoom(
  pod: Pod,
  folders: { layers(container: string): readonly string[]; volume(name: string): string },
): Promise<void> {
  for (const { name } of containersOf(pod)) for (const path of folders.layers(name)) await removeTree(path);
  for (const { name } of onDisk(pod)) await removeTree(folders.volume(name));
}
