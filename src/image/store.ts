/**
 * Where images are kept, for all clusters of the machine: they outlive clusters, which come and go.
 *
 *   images/<64 hex digits>/   one image: `image.json`, and `rootfs`, its layers applied in order
 *   names/<hash>              a file per name: the name, and the image that it stands for
 *   uses/<uid of a pod>       a file per pod that has images: which, and the pod's folder, which it lives no longer than
 *   incoming/<n>              what is being imported, with a lock beside it that its maker holds
 *
 * An image is there whole or not at all: it is renamed into place. Before it is used, the use is written and then
 * the image is looked for; before it is removed, it is marked and then the uses are looked for.
 */
import { createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from '../kernel/flock.ts';
import { HeddleError } from '../lib/errors.ts';
import type { ImageConfig } from './archive.ts';
import { parseReference, type Reference, referenceText, shortName } from './reference.ts';

export const DEFAULT_IMAGE_DIR = '/var/lib/heddle/images';

export interface ImageRecord {
  /** Digest of its configuration. */
  readonly id: string;
  readonly digests: readonly string[];
  readonly config: ImageConfig;
  /** Bytes unpacked. */
  readonly size: number;
  /** ISO 8601. */
  readonly imported: string;
  /** What of the archive was not taken over. */
  readonly notes: readonly string[];
}

export interface StoredImage extends ImageRecord {
  /** In full, sorted. */
  readonly names: readonly string[];
  /** Pods that use it, `namespace/name`. */
  readonly pods: readonly string[];
}

export interface PodUse {
  readonly pod: string;
  /** The pod's own folder. */
  readonly folder: string;
  /** Ids. */
  readonly images: readonly string[];
  /** The first of the 65,536 user and group ids that are the pod's alone, as the machine knows them. */
  readonly base: number;
}

export interface Removed {
  /** In full; undefined where it was not asked for by name. */
  readonly name: string | undefined;
  /** Undefined: it stays. */
  readonly image: string | undefined;
}

export interface ImageStore {
  readonly root: string;
  list(): StoredImage[];
  /** By name, by digest, or by the first digits of its id. @throws HeddleError `BadImageName` */
  find(text: string): ImageRecord | undefined;
  get(id: string): ImageRecord | undefined;
  rootfs(id: string): string;
  /** A folder to import into, gone with `close`, or by the next who comes when its maker dies. */
  incoming(): { path: string; close(): void };
  /** Moves a folder of `image.json` and `rootfs` into place, and names it. */
  add(record: ImageRecord, folder: string | undefined, names: readonly Reference[]): Promise<void>;
  /** Takes a name away; the image with its last one. @throws HeddleError `NoSuchImage`, `ImageInUse` */
  remove(text: string, options: { force: boolean }): Promise<Removed>;
  /** The images that a pod has from now on; its ids stay the same. @throws HeddleError `IdsExhausted` */
  use(uid: string, use: Omit<PodUse, 'base'>): Promise<PodUse>;
  unuse(uid: string): void;
}

interface Named {
  name: string;
  id: string;
}

/** In an image's folder, while it is being asked whether a pod has it. */
const REMOVING = 'removing';

/** Above the ids of other pods (user-id.ts of podhost), and below 2³¹, beyond which kernels know no groups for ping. */
const FIRST_BASE = 0x6000_0000;
const ID_BLOCK = 0x1_0000;
const ID_BLOCKS = 0x2000;

const hexOf = (id: string): string => id.slice('sha256:'.length);

export function openStore(root: string): ImageStore {
  const folder = (name: string) => join(root, name);
  const pathOf = (id: string) => join(root, 'images', hexOf(id));
  const nameFile = (name: string) => join(root, 'names', createHash('sha256').update(name).digest('hex'));
  const make = () => {
    for (const name of ['images', 'names', 'uses', 'incoming'])
      fs.mkdirSync(folder(name), { recursive: true, mode: 0o700 });
  };

  const entries = (name: string): string[] => {
    try {
      return fs.readdirSync(folder(name)).filter((one) => !one.endsWith('.new'));
    } catch {
      return [];
    }
  };

  /** Changes of names, images and uses, one process at a time. */
  async function locked<T>(work: () => T): Promise<T> {
    make();
    const fd = fs.openSync(folder('lock'), 'a', 0o600);
    try {
      for (let i = 0; !tryLock(fd); i++) {
        if (i > 3000) throw new HeddleError('ImagesBusy', `somebody holds ${folder('lock')} for a minute`);
        await sleep(20);
      }
      return work();
    } finally {
      fs.closeSync(fd);
    }
  }

  function read(path: string): object | undefined {
    try {
      return JSON.parse(fs.readFileSync(path, 'utf8')) as object;
    } catch {
      return undefined;
    }
  }

  function write(path: string, value: unknown): void {
    const fresh = `${path}.new`;
    const fd = fs.openSync(fresh, 'w', 0o600);
    try {
      fs.writeSync(fd, JSON.stringify(value));
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(fresh, path);
  }

  function record(id: string): ImageRecord | undefined {
    const found = read(join(pathOf(id), 'image.json')) as ImageRecord | undefined;
    return fs.existsSync(join(pathOf(id), REMOVING)) ? undefined : found;
  }

  const get = (id: string) => (/^sha256:[0-9a-f]{64}$/.test(id) ? record(id) : undefined);

  const named = (): Named[] =>
    entries('names').flatMap((file) => (read(join(root, 'names', file)) as Named | undefined) ?? []);

  const all = (): ImageRecord[] => entries('images').flatMap((hex) => get(`sha256:${hex}`) ?? []);

  /** Of pods that are there still. */
  function uses(): PodUse[] {
    return entries('uses').flatMap((uid) => {
      const use = read(join(root, 'uses', uid)) as PodUse | undefined;
      if (use && fs.existsSync(use.folder)) return [use];
      fs.rmSync(join(root, 'uses', uid), { force: true });
      return [];
    });
  }

  const podsOf = (id: string): string[] =>
    uses()
      .filter(({ images }) => images.includes(id))
      .map(({ pod }) => pod);

  function findReference(reference: Reference): ImageRecord | undefined {
    const { digest } = reference;
    if (digest !== undefined)
      return all().find(({ id, digests }) => id === digest || digests.includes(digest));
    const found = read(nameFile(referenceText(reference))) as Named | undefined;
    return found && get(found.id);
  }

  function findById(text: string): ImageRecord | undefined {
    const digits = /^(?:sha256:)?([0-9a-f]{4,64})$/.exec(text)?.[1];
    const found = digits === undefined ? [] : all().filter(({ id }) => hexOf(id).startsWith(digits));
    return found.length === 1 ? found[0] : undefined;
  }

  /** Away with what no name leads to and no pod has. */
  function collect(): void {
    // Of somebody who was killed in the middle: nobody else is here now.
    for (const hex of entries('images')) fs.rmSync(join(root, 'images', hex, REMOVING), { force: true });
    const kept = new Set(named().map(({ id }) => id));
    for (const { id } of all()) if (!kept.has(id) && podsOf(id).length === 0) takeAway(id);
  }

  /** What was taken away, and what makers that died have left. Takes its time, and nobody waits for it. */
  function sweep(): void {
    for (const one of entries('incoming').filter((name) => !name.endsWith('.lock'))) {
      const lock = join(root, 'incoming', `${one}.lock`);
      const fd = fs.openSync(lock, 'a', 0o600);
      if (tryLock(fd)) {
        fs.rmSync(join(root, 'incoming', one), { recursive: true, force: true });
        fs.rmSync(lock, { force: true });
      }
      fs.closeSync(fd);
    }
  }

  function freeBase(uid: string): number {
    const taken = new Set(uses().map(({ base }) => base));
    const first = createHash('sha256').update(uid).digest().readUInt32BE(0) % ID_BLOCKS;
    for (let i = 0; i < ID_BLOCKS; i++) {
      const base = FIRST_BASE + ((first + i) % ID_BLOCKS) * ID_BLOCK;
      if (!taken.has(base)) return base;
    }
    throw new HeddleError(
      'IdsExhausted',
      `${ID_BLOCKS} pods of images run on this machine: there are no more user ids`,
    );
  }

  /** False when a pod came before. */
  function takeAway(id: string, force = false): boolean {
    const mark = join(pathOf(id), REMOVING);
    fs.closeSync(fs.openSync(mark, 'a', 0o600));
    if (!force && podsOf(id).length > 0) {
      fs.rmSync(mark, { force: true });
      return false;
    }
    fs.renameSync(pathOf(id), join(root, 'incoming', randomUUID()));
    return true;
  }

  const inUse = (id: string, text: string): HeddleError => {
    const pods = podsOf(id);
    return new HeddleError(
      'ImageInUse',
      `${text} is in use by ${pods.slice(0, 5).join(', ')}${pods.length > 5 ? ` and ${pods.length - 5} more` : ''}`,
      {
        hint: 'delete these pods first; --force takes it away all the same, and their containers do not start again',
      },
    );
  };

  return {
    root,
    list() {
      const names = named();
      return all()
        .map((image) => ({
          ...image,
          names: names
            .filter(({ id }) => id === image.id)
            .map(({ name }) => name)
            .toSorted(),
          pods: podsOf(image.id),
        }))
        .toSorted((a, b) => (a.names[0] ?? a.id).localeCompare(b.names[0] ?? b.id));
    },
    find: (text) => findById(text) ?? findReference(parseReference(text)),
    get,
    rootfs: (id) => join(pathOf(id), 'rootfs'),
    incoming() {
      make();
      const path = join(root, 'incoming', randomUUID());
      const fd = fs.openSync(`${path}.lock`, 'a', 0o600);
      tryLock(fd);
      fs.mkdirSync(path, { mode: 0o700 });
      return {
        path,
        close() {
          fs.rmSync(path, { recursive: true, force: true });
          fs.rmSync(`${path}.lock`, { force: true });
          fs.closeSync(fd);
        },
      };
    },
    async add(record, made, names) {
      await locked(() => {
        if (made !== undefined && !get(record.id)) {
          write(join(made, 'image.json'), record);
          fs.rmSync(pathOf(record.id), { recursive: true, force: true });
          fs.renameSync(made, pathOf(record.id));
        } else {
          const known = get(record.id);
          if (!known) throw new HeddleError('NoSuchImage', `the image ${record.id} was removed meanwhile`);
          const digests = [...new Set([...known.digests, ...record.digests])];
          if (digests.length > known.digests.length)
            write(join(pathOf(record.id), 'image.json'), { ...known, digests });
        }
        for (const reference of names) {
          const name = referenceText(reference);
          write(nameFile(name), { name, id: record.id });
        }
        collect();
      });
      sweep();
    },
    async remove(text, { force }) {
      const removed = await locked(() => {
        const byId = findById(text);
        const image = byId ?? findReference(parseReference(text));
        if (!image)
          throw new HeddleError('NoSuchImage', `there is no image ${text}`, {
            hint: '"heddle image list" shows all',
          });
        const names = named().filter(({ id }) => id === image.id);
        const wanted = byId ? undefined : parseReference(text);
        const one =
          wanted?.digest === undefined && wanted
            ? names.find(({ name }) => name === referenceText(wanted))
            : undefined;
        const isLast = one === undefined || names.length === 1;
        if (isLast && !force && podsOf(image.id).length > 0) throw inUse(image.id, shortName(text));
        for (const { name } of one ? [one] : names) fs.rmSync(nameFile(name), { force: true });
        const gone = isLast && takeAway(image.id, force);
        collect();
        return { name: one?.name, image: gone ? image.id : undefined };
      });
      sweep();
      return removed;
    },
    use: (uid, use) =>
      locked(() => {
        const before = read(join(root, 'uses', uid)) as PodUse | undefined;
        const now = { ...use, base: before?.base ?? freeBase(uid) };
        write(join(root, 'uses', uid), now);
        return now;
      }),
    unuse: (uid) => fs.rmSync(join(root, 'uses', uid), { force: true }),
  };
}
