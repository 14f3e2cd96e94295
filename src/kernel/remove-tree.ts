/** Removing what programs that nobody trusts have made. */
import { rm } from 'node:fs/promises';
import { errnoCode } from '../lib/errors.ts';
import { run } from './spawn.ts';

/**
 * The folder and all in it, if it is there. Node's own way names every file by its whole path, and a program can make
 * folders within folders beyond the longest path that there is: those rm(1) removes, which goes from folder to folder.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (errnoCode(error) !== 'ENAMETOOLONG') throw error;
    const { code, stderr } = await run(['rm', '-rf', '--', path], { timeoutMs: 600_000 });
    if (code !== 0)
      throw new Error(`cannot remove ${path}: ${stderr.trim().slice(0, 500)}`, { cause: error });
  }
}
