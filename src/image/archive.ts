/** What images an archive holds: an OCI image layout (image-spec, image-layout.md), or what `docker save` writes. */
import { createHash } from 'node:crypto';
import { HeddleError } from '../lib/errors.ts';
import { type Blobs, readDocument } from './blobs.ts';
import { badArchive } from './tar-header.ts';
import { type Architecture, platformText } from './platform.ts';

/** One image, as the archive has it. */
export interface ArchiveImage {
  /** Names that the archive gives it, as written there. */
  readonly names: readonly string[];
  /** Digests by which a pod may name it: of its manifest, and of an index that leads to it. */
  readonly digests: readonly string[];
  /** Of its configuration. */
  readonly id: string;
  readonly config: ImageConfig;
  readonly layers: readonly ArchiveLayer[];
}

export interface ArchiveLayer {
  /** Name of its file in the archive. */
  readonly file: string;
  /** Of its bytes as they are there; undefined where the archive does not say. */
  readonly digest?: string;
  /** Of its bytes decompressed. */
  readonly diffId: string;
}

/** image-spec, config.md: what of it is used. */
export interface ImageConfig {
  architecture: string;
  os: string;
  created?: string;
  config?: {
    User?: string;
    ExposedPorts?: Record<string, object>;
    Env?: string[];
    Entrypoint?: string[];
    Cmd?: string[];
    Volumes?: Record<string, object>;
    WorkingDir?: string;
    StopSignal?: string;
    Labels?: Record<string, string>;
  };
  rootfs: { diff_ids: string[] };
}

interface Descriptor {
  mediaType?: string;
  digest: string;
  size: number;
  platform?: { os?: string; architecture?: string; variant?: string };
  annotations?: Record<string, string>;
}

interface Index {
  manifests?: Descriptor[];
}

interface Manifest {
  config?: Descriptor;
  layers?: Descriptor[];
}

/** An item of manifest.json. */
interface DockerImage {
  Config?: unknown;
  RepoTags?: string[] | null;
  Layers?: unknown[];
}

const MAX_DEPTH = 4;
const MAX_LAYERS = 1024;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export const digestOf = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** @throws HeddleError `BadArchive`, `ImageDigest`, `ImagePlatform` */
export async function findImages(blobs: Blobs, architecture: Architecture): Promise<ArchiveImage[]> {
  try {
    if ((await blobs.size('index.json')) !== undefined) return await ofLayout(blobs, architecture);
    if ((await blobs.size('manifest.json')) !== undefined) return await ofDocker(blobs, architecture);
  } catch (error) {
    // Some text where an object should be.
    if (error instanceof TypeError)
      throw badArchive('a document of the archive is not as the specification says');
    throw error;
  }
  throw badArchive('neither an index.json (OCI image layout) nor a manifest.json (docker save) is in it');
}

function parse(bytes: Buffer, what: string): object {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Said below.
  }
  throw badArchive(`${what} of the archive is not an object in JSON`);
}

const listOf = <T>(value: T[] | undefined, what: string): T[] => {
  if (!Array.isArray(value)) throw badArchive(`${what} of the archive is not a list`);
  return value;
};

function blobName(digest: unknown): string {
  if (typeof digest !== 'string' || !DIGEST.test(digest))
    throw badArchive(
      `${JSON.stringify(digest)} in the archive is not a digest: expected sha256:<64 hex digits>`,
    );
  return `blobs/sha256/${digest.slice(7)}`;
}

async function checkedDocument(blobs: Blobs, { digest }: Descriptor): Promise<Buffer> {
  const bytes = await readDocument(blobs, blobName(digest));
  const found = digestOf(bytes);
  if (found !== digest) throw digestError(`blobs/sha256/${digest.slice(7)}`, digest, found);
  return bytes;
}

export const digestError = (what: string, wanted: string, found: string): HeddleError =>
  new HeddleError('ImageDigest', `${what} is said to be ${wanted} and is ${found}`, {
    hint: 'the archive was damaged or changed; nothing of it is kept',
  });

async function ofLayout(blobs: Blobs, architecture: Architecture): Promise<ArchiveImage[]> {
  const index = parse(await readDocument(blobs, 'index.json'), 'index.json') as Index;
  const groups = new Map<string, Descriptor[]>();
  for (const one of listOf(index.manifests, 'manifests of index.json')) {
    const name = nameIn(one) ?? '';
    groups.set(name, [...(groups.get(name) ?? []), one]);
  }
  if (groups.size === 0) throw badArchive('the index.json of the archive names no image');
  const images: ArchiveImage[] = [];
  for (const [name, descriptors] of groups) {
    const { descriptor, way } = await choose(blobs, descriptors, architecture, 0);
    images.push(await ofManifest(blobs, descriptor, { names: name === '' ? [] : [name], way, architecture }));
  }
  return images;
}

/** containerd and docker write the whole name; the specification has a tag, or whatever its writer likes. */
function nameIn({ annotations }: Descriptor): string | undefined {
  const name: unknown =
    annotations?.['io.containerd.image.name'] ?? annotations?.['org.opencontainers.image.ref.name'];
  if (name !== undefined && typeof name !== 'string')
    throw badArchive(`${JSON.stringify(name)} in the archive is not the name of an image`);
  return name;
}

const isIndex = ({ mediaType }: Descriptor): boolean =>
  mediaType === 'application/vnd.oci.image.index.v1+json' ||
  mediaType === 'application/vnd.docker.distribution.manifest.list.v2+json';

/** The one for this machine; `way`: digests of the indexes that led there. */
async function choose(
  blobs: Blobs,
  descriptors: readonly Descriptor[],
  architecture: Architecture,
  depth: number,
): Promise<{ descriptor: Descriptor; way: string[] }> {
  if (depth > MAX_DEPTH) throw badArchive('indexes within indexes in the archive, too deep');
  const fits = ({ platform }: Descriptor) =>
    !platform || (platform.os === 'linux' && platform.architecture === architecture);
  for (const one of descriptors.filter(fits)) {
    if (!isIndex(one)) return { descriptor: one, way: [] };
    const inner = parse(await checkedDocument(blobs, one), 'an index') as Index;
    const found = await choose(
      blobs,
      listOf(inner.manifests, 'manifests of an index'),
      architecture,
      depth + 1,
    );
    return { ...found, way: [one.digest, ...found.way] };
  }
  throw platformError(
    descriptors.map(({ platform }) => platformText(platform)),
    architecture,
  );
}

const platformError = (found: readonly string[], architecture: Architecture): HeddleError =>
  new HeddleError(
    'ImagePlatform',
    `the image is for ${found.join(', ')}, and this machine is linux/${architecture}`,
    {
      hint: `get it with --platform linux/${architecture}`,
    },
  );

async function ofManifest(
  blobs: Blobs,
  descriptor: Descriptor,
  { names, way, architecture }: { names: string[]; way: string[]; architecture: Architecture },
): Promise<ArchiveImage> {
  const manifest = parse(await checkedDocument(blobs, descriptor), 'a manifest') as Manifest;
  if (!manifest.config) throw badArchive('a manifest of the archive names no configuration');
  const bytes = await checkedDocument(blobs, manifest.config);
  const config = checkedConfig(parse(bytes, 'a configuration') as ImageConfig, architecture);
  const layers = listOf(manifest.layers, 'layers of a manifest').map(({ digest, mediaType }, i) => {
    if (mediaType?.endsWith('+encrypted')) throw badArchive('its layers are encrypted, which is not read');
    return { file: blobName(digest), digest, diffId: config.rootfs.diff_ids[i] ?? '' };
  });
  checkLayers(layers, config);
  return { names, digests: [descriptor.digest, ...way], id: manifest.config.digest, config, layers };
}

async function ofDocker(blobs: Blobs, architecture: Architecture): Promise<ArchiveImage[]> {
  const bytes = await readDocument(blobs, 'manifest.json');
  const list = listOf(parse(bytes, 'manifest.json') as DockerImage[], 'manifest.json');
  const images: ArchiveImage[] = [];
  for (const { Config, RepoTags, Layers } of list) {
    if (typeof Config !== 'string') throw badArchive('manifest.json of the archive names no configuration');
    const own = await readDocument(blobs, Config);
    const id = digestOf(own);
    const said = /([0-9a-f]{64})(?:\.json)?$/.exec(Config)?.[1];
    if (said !== undefined && `sha256:${said}` !== id) throw digestError(Config, `sha256:${said}`, id);
    const config = checkedConfig(parse(own, 'a configuration') as ImageConfig, architecture);
    const layers = listOf(Layers, 'Layers of manifest.json').map((file, i) => ({
      file: String(file),
      diffId: config.rootfs.diff_ids[i] ?? '',
    }));
    checkLayers(layers, config);
    const names = listOf(RepoTags ?? [], 'RepoTags of manifest.json');
    if (!names.every((name) => typeof name === 'string'))
      throw badArchive('RepoTags of manifest.json are no texts');
    images.push({ names, digests: [], id, config, layers });
  }
  return images;
}

function checkedConfig(config: ImageConfig, architecture: Architecture): ImageConfig {
  if (config.os !== 'linux' || config.architecture !== architecture)
    throw platformError([platformText(config)], architecture);
  const diffIds = listOf(config.rootfs?.diff_ids, 'rootfs.diff_ids of a configuration');
  if (diffIds.length > MAX_LAYERS)
    throw badArchive(`the image has ${diffIds.length} layers: at most ${MAX_LAYERS}`);
  for (const one of diffIds) blobName(one);
  const { Env, Entrypoint, Cmd, User, WorkingDir, StopSignal } = config.config ?? {};
  const isTexts = (value: unknown) =>
    value === undefined ||
    value === null ||
    (Array.isArray(value) && value.every((one) => typeof one === 'string'));
  const isText = (value: unknown) => value === undefined || value === null || typeof value === 'string';
  if (![Env, Entrypoint, Cmd].every(isTexts) || ![User, WorkingDir, StopSignal].every(isText))
    throw badArchive(
      'the configuration of the image has a field of another type than the specification says',
    );
  return config;
}

function checkLayers(layers: readonly ArchiveLayer[], { rootfs }: ImageConfig): void {
  if (layers.length !== rootfs.diff_ids.length)
    throw badArchive(
      `the image has ${layers.length} layers, and its configuration names ${rootfs.diff_ids.length}`,
    );
}
