/** Where a name of an archive lies below a root: links on the way lead where they would in a chroot, never out of it. */
import { lstatSync, mkdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { badArchive } from './tar-header.ts';

const MAX_LINKS = 40;

/** Nobody else may change the root meanwhile. */
export interface Place {
  /** A folder that is there, without a link in its path. */
  readonly folder: string;
  /** Undefined: the root itself. */
  readonly base: string | undefined;
}

/**
 * Folders that are missing are made; `made` is told of them. With `make` undefined, undefined where one is missing.
 * @throws HeddleError `BadArchive` where it leads out, or through what is no folder
 */
export function placeIn(root: string, name: string, made?: (path: string) => void): Place | undefined {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || name.includes('\0'))
    throw badArchive(`${JSON.stringify(name)} in the archive leads out of the image`);
  const base = parts.pop();
  const here: string[] = [];
  let links = 0;
  for (const ahead = parts; ahead.length > 0; ) {
    const part = ahead.shift()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      here.pop();
      continue;
    }
    const path = join(root, ...here, part);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isSymbolicLink()) {
      if (++links > MAX_LINKS)
        throw badArchive(`${JSON.stringify(name)} in the archive leads through too many links`);
      const target = readlinkSync(path);
      if (target.startsWith('/')) here.length = 0;
      ahead.unshift(...target.split('/'));
      continue;
    }
    if (!found) {
      if (!made) return undefined;
      mkdirSync(path, 0o755);
      made(path);
    } else if (!found.isDirectory())
      throw badArchive(`${JSON.stringify(name)} in the archive lies in what is no folder`);
    here.push(part);
  }
  return { folder: join(root, ...here), base };
}
