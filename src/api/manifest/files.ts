/** Manifests on disk: which files a path means, and their text. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode } from '../../lib/errors.ts';
import type { ManifestProblem } from './problem.ts';

/** As kubectl picks files of a folder. */
const MANIFEST_NAME = /\.(ya?ml|json)$/;
/** Bytes: a hundred times the largest published example application. */
const SIZE_LIMIT = 32 * 1024 * 1024;

export interface Source {
  /** As the user would write it; `-` for stdin. */
  readonly file: string;
  readonly text: string;
}

export interface FilesOptions {
  /** Folders in folders too. */
  readonly recursive?: boolean;
  readonly stdin?: AsyncIterable<Uint8Array | string>;
}

export interface Files {
  readonly sources: Source[];
  readonly problems: ManifestProblem[];
}

/** Reads files, the manifests of folders (sorted by name) and `-`. */
export async function readSources(paths: readonly string[], options: FilesOptions = {}): Promise<Files> {
  const sources: Source[] = [];
  const problems: ManifestProblem[] = [];
  const take = (file: string, bytes: Uint8Array): void => {
    const text = decodeText(bytes);
    if (typeof text === 'string') sources.push({ file, text });
    else problems.push({ file, message: text.problem });
  };
  for (const path of paths) {
    try {
      if (path === '-') take('<stdin>', await readAll(options.stdin ?? process.stdin));
      else
        for (const file of await filesOf(path, options.recursive ?? false))
          take(file, await readLimited(file));
    } catch (error) {
      problems.push({ file: path === '-' ? '<stdin>' : path, message: readProblem(error) });
    }
  }
  return { sources, problems };
}

class Refused extends Error {}

async function filesOf(path: string, recursive: boolean): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { withFileTypes: true });
  const files: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = join(path, entry.name);
    const folder = entry.isDirectory();
    if (folder && recursive) files.push(...(await filesOf(file, true)));
    else if (!folder && MANIFEST_NAME.test(entry.name)) files.push(file);
  }
  if (files.length === 0 && !recursive)
    throw new Refused(
      'the folder holds no .yaml, .yml or .json file (folders in it are read with --recursive)',
    );
  return files;
}

async function readLimited(file: string): Promise<Uint8Array> {
  const info = await stat(file);
  if (info.size > SIZE_LIMIT)
    throw new Refused(`the file has ${info.size} bytes; manifests may have ${SIZE_LIMIT}`);
  return readFile(file);
}

async function readAll(stream: AsyncIterable<Uint8Array | string>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    if (size > SIZE_LIMIT) throw new Refused(`more than ${SIZE_LIMIT} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

function readProblem(error: unknown): string {
  if (error instanceof Refused) return error.message;
  const code = errnoCode(error);
  if (code === 'ENOENT') return 'there is no such file or folder';
  if (code === 'EACCES') return 'it may not be read by this user';
  return `reading it failed (${code ?? String(error)})`;
}

/** UTF-8, with or without a byte order mark; UTF-16 if its mark says so. */
export function decodeText(bytes: Uint8Array): string | { problem: string } {
  const [first, second] = bytes;
  try {
    if (first === 0xff && second === 0xfe) return new TextDecoder('utf-16le', { fatal: true }).decode(bytes);
    if (first === 0xfe && second === 0xff) return new TextDecoder('utf-16be', { fatal: true }).decode(bytes);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return { problem: `the file is not UTF-8 text (the first byte that is not: ${firstBadByte(bytes)})` };
  }
}

function firstBadByte(bytes: Uint8Array): string {
  const lenient = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  const line = lenient.slice(0, lenient.indexOf('\ufffd')).split('\n').length;
  return `on line ${line}`;
}
