/** Hierarchies of cgroup v1: a controller each, or some together, mounted beside cgroup2. Paths are absolute. */
import fs from 'node:fs';
import { join } from 'node:path';
import { CONTROLLERS } from './cgroup-limits.ts';

export interface Hierarchy {
  readonly controllers: readonly string[];
  /** Where it is mounted. */
  readonly mount: string;
  /** The group that this process is in: what limits it, limits what is made below. */
  readonly own: string;
}

/** Those that have controllers of ours, as this process's mount namespace shows them; one that is mounted twice, once. */
export function v1Hierarchies(
  mountinfo = fs.readFileSync('/proc/self/mountinfo', 'utf8'),
  own = fs.readFileSync('/proc/self/cgroup', 'utf8'),
): Hierarchy[] {
  const groups = new Map<string, string>();
  for (const line of own.split('\n')) {
    const [, controllers = '', ...path] = line.split(':');
    // Of cgroup2 there are none.
    for (const one of controllers.split(',')) if (one !== '') groups.set(one, path.join(':'));
  }
  const found = new Map<string, Hierarchy>();
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [type, , options = ''] = right.split(' ');
    const [, , , root = '', mount = ''] = left.split(' ').map(unescape);
    const controllers = options.split(',').filter((one) => groups.has(one));
    if (type !== 'cgroup' || !CONTROLLERS.some((one) => controllers.includes(one))) continue;
    const key = controllers.toSorted().join();
    const path = groups.get(controllers[0]!)!;
    if (!found.has(key)) found.set(key, { controllers, mount, own: join(mount, belowRoot(path, root)) });
  }
  return [...found.values()];
}

/** A mount may show a part of the hierarchy only: a container's, say. */
const belowRoot = (path: string, root: string): string =>
  root !== '/' && (path === root || path.startsWith(`${root}/`)) ? path.slice(root.length) : path;

/** The kernel writes blanks and backslashes of paths as `\040`. */
const unescape = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** Groups whose name fits, wherever they are below `mount`: whoever made them was in another group than we are. */
export function findGroups(mount: string, fits: (name: string) => boolean): string[] {
  const found: string[] = [];
  const folders = [mount];
  for (let at = folders.pop(); at !== undefined; at = folders.pop())
    for (const name of folderNames(at)) (fits(name) ? found : folders).push(join(at, name));
  return found.toSorted();
}

/** Of every hierarchy that is mounted. */
export const findV1Groups = (fits: (name: string) => boolean): string[] =>
  v1Hierarchies().flatMap(({ mount }) => findGroups(mount, fits));

function folderNames(path: string): string[] {
  try {
    const entries = fs.readdirSync(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    // Gone meanwhile.
    return [];
  }
}
