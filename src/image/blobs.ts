/** The files of an image archive, by name: of a folder or of a tar file, which may be compressed. */
import { createReadStream, createWriteStream, type ReadStream } from 'node:fs';
import { open, realpath, stat } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { compressionOf, decompressor } from './compression.ts';
import { tooLarge, unpackError } from './layer.ts';
import { badArchive } from './tar-header.ts';
import { createTarReader } from './tar-reader.ts';

export interface Blobs {
  /** Bytes; undefined: there is none of that name. */
  size(name: string): Promise<number | undefined>;
  /** @throws HeddleError `BadArchive` when it is not there */
  stream(name: string): Promise<ReadStream>;
}

/** Of what is read as a whole: manifests and configurations. */
const MAX_DOCUMENT = 8 << 20;
const MAX_FILES = 100_000;

/** @throws HeddleError `BadArchive` */
export async function readDocument(blobs: Blobs, name: string): Promise<Buffer> {
  const size = await blobs.size(name);
  if (size === undefined) throw badArchive(`the archive has no ${name}`);
  if (size > MAX_DOCUMENT)
    throw badArchive(`${name} of the archive has ${size} bytes: at most ${MAX_DOCUMENT} are read`);
  const chunks: Buffer[] = [];
  for await (const chunk of await blobs.stream(name)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/**
 * `spool`: where a compressed archive is unpacked to, at most `maxBytes`, so that its files can be found in it.
 * @throws HeddleError `BadArchive`, `DiskFull`, `ImageTooLarge`, `NoSuchFile`
 */
export async function openBlobs(path: string, spool: string, maxBytes: number): Promise<Blobs> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new HeddleError('NoSuchFile', `cannot read ${path}`, {
      hint: 'expected the folder of an OCI image layout, or a file of "docker save" or "skopeo copy"',
      cause,
    });
  });
  if (found.isDirectory()) return ofFolder(await realpath(path));
  const file = await open(path);
  const first = Buffer.alloc(4);
  try {
    await file.read(first, 0, 4, 0);
  } finally {
    await file.close();
  }
  const compression = compressionOf(first);
  if (compression === 'none') return ofTar(path);
  try {
    const source = createReadStream(path);
    await pipeline(source, decompressor(compression), limit(maxBytes, path), createWriteStream(spool));
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    throw errnoCode(error)?.startsWith('E') === true
      ? unpackError(path, error)
      : badArchive(`${path} cannot be decompressed`);
  }
  return ofTar(spool);
}

const limit = (maxBytes: number, path: string) =>
  async function* (source: AsyncIterable<Buffer>) {
    let left = maxBytes;
    for await (const chunk of source) {
      left -= chunk.length;
      if (left < 0) throw tooLarge(`the archive ${path}`);
      yield chunk;
    }
  };

const inside = (name: string): string | undefined => {
  const path = normalize(name);
  return path.startsWith('/') || path.split('/').includes('..') || path.includes('\0') ? undefined : path;
};

function ofFolder(root: string): Blobs {
  /** Undefined where it is not there, or its links lead out. */
  async function find(name: string): Promise<string | undefined> {
    const path = inside(name);
    const real = path === undefined ? undefined : await realpath(join(root, path)).catch(() => undefined);
    return real?.startsWith(`${root}/`) ? real : undefined;
  }
  return {
    async size(name) {
      const path = await find(name);
      const found = path === undefined ? undefined : await stat(path);
      return found?.isFile() ? found.size : undefined;
    },
    async stream(name) {
      const path = await find(name);
      if (path === undefined) throw badArchive(`the archive has no ${name}`);
      return createReadStream(path);
    },
  };
}

async function ofTar(path: string): Promise<Blobs> {
  const files = new Map<string, { offset: number; size: number } | { link: string }>();
  const reader = createTarReader(createReadStream(path, { highWaterMark: 1 << 20 }));
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    if (files.size >= MAX_FILES)
      throw badArchive(`${path} has more than ${MAX_FILES} files: it is no archive of an image`);
    const name = inside(entry.name);
    if (name === undefined || entry.pieces) continue;
    if (entry.kind === 'file') files.set(name, { offset: entry.offset, size: entry.size });
    // Older archives have a layer that comes twice as a link.
    else if (entry.kind === 'link') files.set(name, { link: normalize(entry.target) });
    else if (entry.kind === 'symlink') files.set(name, { link: normalize(join(name, '..', entry.target)) });
  }
  function find(name: string) {
    let found = files.get(inside(name) ?? '');
    for (let i = 0; found && 'link' in found && i < 8; i++) found = files.get(found.link);
    return found && 'link' in found ? undefined : found;
  }
  return {
    size: async (name) => find(name)?.size,
    async stream(name) {
      const found = find(name);
      if (!found) throw badArchive(`the archive has no ${name}`);
      const { offset, size } = found;
      return size === 0
        ? createReadStream('/dev/null')
        : createReadStream(path, { start: offset, end: offset + size - 1 });
    },
  };
}
