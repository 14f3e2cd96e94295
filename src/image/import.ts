/** From an archive into the store: every byte is checked against its digest, and nothing is kept of what fails. */
import { createHash, type Hash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { run } from '../kernel/spawn.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { type ArchiveImage, type ArchiveLayer, digestError, findImages } from './archive.ts';
import { type Blobs, openBlobs } from './blobs.ts';
import { plain } from './compression.ts';
import { applyLayer, type Budget, unpackError } from './layer.ts';
import type { Architecture } from './platform.ts';
import { parseReference, type Reference, referenceText } from './reference.ts';
import type { ImageRecord, ImageStore } from './store.ts';
import { createTarReader } from './tar-reader.ts';

export interface ImportOptions {
  /** Folder or file. */
  path: string;
  /** Instead of the names in the archive. */
  name?: string;
  architecture: Architecture;
  /** Bytes and files that one image may unpack to. */
  maxBytes: number;
  maxEntries: number;
  store: ImageStore;
  progress?(text: string): void;
  now(): Date;
  signal?: AbortSignal;
}

export interface Imported {
  id: string;
  /** In full. */
  names: string[];
  /** It was there already. */
  known: boolean;
  size: number;
  notes: readonly string[];
}

/** @throws HeddleError `BadArchive`, `BadImageName`, `DiskFull`, `ImageDigest`, `ImagePlatform`, `ImageTooLarge`, `NoSuchFile` */
export async function importImages(options: ImportOptions): Promise<Imported[]> {
  const { store, path } = options;
  const work = makeIncoming(store);
  try {
    const blobs = await openBlobs(path, join(work.path, 'archive'), options.maxBytes);
    const images = await findImages(blobs, options.architecture);
    if (options.name !== undefined && images.length > 1)
      throw new HeddleError('BadFlag', `--name "${options.name}": ${path} holds ${images.length} images`, {
        hint: 'import it without --name: each has names of its own',
      });
    const named = images.map((image) => ({ image, names: namesOf(image, options) }));
    const done: Imported[] = [];
    for (const [i, { image, names }] of named.entries())
      done.push(await importOne(image, names, blobs, join(work.path, String(i)), options));
    return done;
  } finally {
    work.close();
  }
}

function makeIncoming(store: ImageStore) {
  try {
    return store.incoming();
  } catch (cause) {
    throw unpackError(store.root, cause);
  }
}

function namesOf({ names }: ArchiveImage, { name, path }: ImportOptions): Reference[] {
  const found = name === undefined ? names : [name];
  if (
    found.length === 0 ||
    (name === undefined && found.some((one) => !/[/:]/.test(one) && names.length === 1))
  )
    throw new HeddleError(
      'BadImageName',
      `${path} does not say the name of its image${found[0] === undefined ? '' : ` but "${found[0]}"`}`,
      {
        hint: `name it: heddle image import ${path} --name shop/web:1`,
      },
    );
  const references = found.map(parseReference);
  const digest = references.find((one) => one.digest !== undefined);
  if (digest)
    throw new HeddleError(
      'BadImageName',
      `"${referenceText(digest)}" is a digest: expected a name with a tag`,
    );
  return references;
}

async function importOne(
  image: ArchiveImage,
  names: readonly Reference[],
  blobs: Blobs,
  folder: string,
  options: ImportOptions,
): Promise<Imported> {
  const { store } = options;
  const texts = names.map(referenceText);
  const known = store.get(image.id);
  if (known) {
    await store.add({ ...known, digests: image.digests }, undefined, names);
    return { id: image.id, names: texts, known: true, size: known.size, notes: known.notes };
  }
  fs.mkdirSync(folder, { mode: 0o700 });
  const rootfs = join(folder, 'rootfs');
  fs.mkdirSync(rootfs, { mode: 0o755 });
  const budget: Budget = { bytes: options.maxBytes, entries: options.maxEntries };
  const notes = createNotes();
  for (const [i, layer] of image.layers.entries())
    await unpack(blobs, layer, rootfs, {
      budget,
      notes,
      options,
      label: `layer ${i + 1} of ${image.layers.length}`,
    });
  // A power cut after the rename must not leave empty files under a digest.
  const synced = await run(['sync', '-f', rootfs], { timeoutMs: 600_000 });
  if (synced.code !== 0)
    throw new HeddleError('DiskFull', `the image cannot be written: ${synced.stderr.trim()}`);
  const record: ImageRecord = {
    id: image.id,
    digests: image.digests,
    config: image.config,
    size: options.maxBytes - budget.bytes,
    imported: options.now().toISOString(),
    notes: notes.lines(),
  };
  try {
    await store.add(record, folder, names);
  } catch (error) {
    throw unpackError('image.json', error);
  }
  return { id: image.id, names: texts, known: false, size: record.size, notes: record.notes };
}

interface Unpacking {
  budget: Budget;
  notes: Notes;
  options: ImportOptions;
  label: string;
}

async function unpack(
  blobs: Blobs,
  layer: ArchiveLayer,
  rootfs: string,
  { budget, notes, options, label }: Unpacking,
): Promise<void> {
  const packed = createHash('sha256');
  const unpacked = createHash('sha256');
  let bytes = 0;
  const source = hashed(await blobs.stream(layer.file), packed, options.signal);
  const reader = createTarReader(hashed(plain(source), unpacked, options.signal));
  try {
    await applyLayer(rootfs, {
      reader,
      budget,
      skip: notes.add,
      progress(n) {
        bytes += n;
        options.progress?.(`${label}, ${Math.round(bytes / 2 ** 20)} MiB`);
      },
    });
  } catch (error) {
    if (error instanceof HeddleError)
      throw new HeddleError(error.code, `${label}: ${error.message}`, {
        ...(error.hint === undefined ? {} : { hint: error.hint }),
        cause: error.cause,
      });
    throw new HeddleError('BadArchive', `${label}: ${errorText(error)}`);
  }
  check(layer.file, layer.digest, packed);
  check(`${layer.file}, decompressed,`, layer.diffId, unpacked);
}

function check(what: string, wanted: string | undefined, hash: Hash): void {
  const found = `sha256:${hash.digest('hex')}`;
  if (wanted !== undefined && found !== wanted) throw digestError(what, wanted, found);
}

async function* hashed(
  source: AsyncIterable<Buffer>,
  hash: Hash,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    signal?.throwIfAborted();
    hash.update(chunk);
    yield chunk;
  }
}

interface Notes {
  add(name: string, why: string): void;
  lines(): string[];
}

/** One line for each kind, with the first name and how many there are. */
function createNotes(): Notes {
  const found = new Map<string, { first: string; count: number }>();
  return {
    add(name, why) {
      const one = found.get(why);
      if (one) one.count++;
      else if (found.size < 100) found.set(why, { first: name.slice(0, 200), count: 1 });
    },
    lines: () =>
      [...found].map(
        ([why, { first, count }]) =>
          `not taken over: ${why}: ${first}${count > 1 ? ` and ${count - 1} more` : ''}`,
      ),
  };
}
