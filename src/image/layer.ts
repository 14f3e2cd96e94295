/** Applies a layer's changes to a root (OCI image-spec, layer.md): additions, changes, whiteouts, opaque folders. */
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { type Place, placeIn } from './place.ts';
import { badArchive } from './tar-header.ts';
import type { Entry, TarReader } from './tar-reader.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** The greatest id that containers know. */
const MAX_ID = 0xffff;

export interface Budget {
  /** Bytes and entries that may still be unpacked. */
  bytes: number;
  entries: number;
}

export interface Layer {
  reader: TarReader;
  budget: Budget;
  /** What is not taken over, with why: once each. */
  skip(name: string, why: string): void;
  progress(bytes: number): void;
}

/** @throws HeddleError `BadArchive`, `DiskFull`, `ImageTooLarge` */
export async function applyLayer(root: string, { reader, budget, skip, progress }: Layer): Promise<void> {
  /** What this layer put there: its whiteouts are about the layers below. */
  const own = new Set<string>();
  const folders: { path: string; mtime: number }[] = [];
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    spend(stored(entry));
    try {
      await apply(entry);
    } catch (error) {
      throw unpackError(entry.name, error);
    }
  }
  // Last, because what is made in a folder changes its time.
  for (const { path, mtime } of folders.toReversed())
    if (fs.lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) fs.utimesSync(path, mtime, mtime);

  function spend(bytes: number): void {
    budget.entries--;
    budget.bytes -= Math.max(0, bytes);
    if (budget.entries < 0 || budget.bytes < 0) throw tooLarge('the image');
  }

  /** A folder that the archive does not name. */
  function made(path: string): void {
    spend(0);
    note(path);
  }

  async function apply(entry: Entry): Promise<void> {
    if (entry.name.includes('\uFFFD')) return skip(entry.name, 'its name is not UTF-8');
    const place = placeIn(root, entry.name, made)!;
    if (place.base === undefined) return entry.kind === 'folder' ? describe(root, entry) : undefined;
    if (place.base.startsWith(WHITEOUT)) return whiteOut(place, place.base);
    if (entry.attributes.length > 0) skip(entry.name, `extended attributes (${entry.attributes.join(', ')})`);
    const path = join(place.folder, place.base);
    await make(path, entry);
  }

  async function make(path: string, entry: Entry): Promise<void> {
    if (['char', 'block', 'fifo', 'other'].includes(entry.kind))
      return skip(
        entry.name,
        entry.kind === 'other' ? 'an entry of unknown kind' : `a ${nameOf(entry.kind)}`,
      );
    const target = entry.kind === 'link' ? linkTarget(entry) : undefined;
    if (target === path) return;
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    if (found && !(found.isDirectory() && entry.kind === 'folder'))
      fs.rmSync(path, { recursive: true, force: true });
    note(path);
    if (entry.kind === 'folder') {
      if (!found?.isDirectory()) fs.mkdirSync(path, 0o700);
      folders.push({ path, mtime: entry.mtime });
    } else if (entry.kind === 'symlink') fs.symlinkSync(entry.target, path);
    else if (target !== undefined) return fs.linkSync(target, path);
    else await writeContent(path, entry);
    describe(path, entry);
  }

  /** With the folders that it lies in: they stay as well. */
  function note(path: string): void {
    for (let at = path; at !== root && !own.has(at); at = dirname(at)) own.add(at);
  }

  function linkTarget(entry: Entry): string {
    const place = placeIn(root, entry.target);
    const path = place?.base === undefined ? undefined : join(place.folder, place.base);
    const found = path === undefined ? undefined : fs.lstatSync(path, { throwIfNoEntry: false });
    if (path === undefined || !found || found.isDirectory())
      throw badArchive(
        `${JSON.stringify(entry.name)} is a link to ${JSON.stringify(entry.target)}, which is no file`,
      );
    return path;
  }

  function describe(path: string, entry: Entry): void {
    const { uid, gid, kind, mode, mtime } = entry;
    if (uid < 0 || gid < 0 || uid > MAX_ID || gid > MAX_ID)
      skip(
        entry.name,
        `its owner ${uid}:${gid}, which containers do not know (up to ${MAX_ID}); nobody owns it`,
      );
    const id = (one: number) => (one < 0 || one > MAX_ID ? 65534 : one);
    fs.lchownSync(path, id(uid), id(gid));
    if (kind === 'symlink') return fs.lutimesSync(path, mtime, mtime);
    // After the owner: a change of owner takes the bits of setuid away.
    fs.chmodSync(path, mode);
    if (kind === 'file') fs.utimesSync(path, mtime, mtime);
  }

  async function writeContent(path: string, entry: Entry): Promise<void> {
    // Exclusive: never through a link that is there.
    const fd = fs.openSync(path, 'wx', 0o600);
    try {
      const pieces = (entry.pieces ?? [{ offset: 0, length: entry.size }]).values();
      let piece = { offset: 0, length: 0 };
      for await (const chunk of reader.content())
        for (let at = 0; at < chunk.length; ) {
          while (piece.length === 0) piece = { ...pieces.next().value! };
          const n = fs.writeSync(fd, chunk, at, Math.min(chunk.length - at, piece.length), piece.offset);
          piece = { offset: piece.offset + n, length: piece.length - n };
          at += n;
          progress(n);
        }
      if (entry.pieces) fs.ftruncateSync(fd, entry.size);
    } finally {
      fs.closeSync(fd);
    }
  }

  function whiteOut({ folder }: Place, name: string): void {
    if (name === OPAQUE) {
      for (const one of fs.readdirSync(folder)) removeBelow(join(folder, one));
      return;
    }
    // What AUFS keeps for itself.
    if (name.startsWith(`${WHITEOUT}${WHITEOUT}`)) return;
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw badArchive(`${JSON.stringify(name)} in the archive takes nothing away`);
    removeBelow(join(folder, hidden));
  }

  /** What layers below put there. */
  function removeBelow(path: string): void {
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    if (!found) return;
    if (!own.has(path)) return fs.rmSync(path, { recursive: true, force: true });
    if (found.isDirectory()) for (const one of fs.readdirSync(path)) removeBelow(join(path, one));
  }
}

export const tooLarge = (what: string): HeddleError =>
  new HeddleError('ImageTooLarge', `${what} unpacks to more than is allowed`, {
    hint: '--max-size and --max-files say how much is',
  });

const stored = ({ pieces, size }: Entry): number =>
  pieces ? pieces.reduce((sum, { length }) => sum + length, 0) : size;

const nameOf = (kind: string): string => (kind === 'fifo' ? 'named pipe' : `${kind} device`);

export function unpackError(name: string, error: unknown): unknown {
  if (error instanceof HeddleError) return error;
  const code = errnoCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new HeddleError('DiskFull', `no room for ${JSON.stringify(name)} of the image`, {
      hint: 'nothing of it is kept; "heddle image list" shows what takes room, --image-dir keeps images elsewhere',
      cause: error,
    });
  if (code === 'EMFILE' || code === 'EIO') return error;
  return new HeddleError('BadArchive', `cannot unpack ${JSON.stringify(name.slice(0, 300))}`, {
    cause: error,
  });
}
