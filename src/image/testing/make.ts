/** For tests: archives of images, made byte by byte. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { machineArchitecture } from '../platform.ts';

export interface TarEntry {
  name: string;
  /** As in the header: `0` file, `1` link, `2` symlink, `5` folder, … Default: a file, or a folder by its name. */
  type?: string;
  content?: string | Buffer;
  target?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Of an extended header before it. */
  pax?: Record<string, string>;
}

const BLOCK = 512;
const padded = (bytes: Buffer): Buffer =>
  Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);

export function tarOf(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(blocksOf), Buffer.alloc(2 * BLOCK)]);
}

function blocksOf({ pax, ...entry }: TarEntry): Buffer[] {
  const content = Buffer.from(entry.content ?? '');
  const own = [headerOf(entry, content.length), padded(content)];
  if (!pax) return own;
  const text = Buffer.concat(Object.entries(pax).map(([key, value]) => paxRecord(key, value)));
  return [headerOf({ name: 'pax', type: 'x' }, text.length), padded(text), ...own];
}

export function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`);
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function headerOf(entry: TarEntry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  block.write(entry.name.slice(0, 100), 0);
  octal(entry.mode ?? (entry.name.endsWith('/') ? 0o755 : 0o644), 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(1_700_000_000, 136, 12);
  block.write(entry.type ?? (entry.name.endsWith('/') ? '5' : '0'), 156);
  block.write((entry.target ?? '').slice(0, 100), 157);
  block.write('ustar\x0000', 257, 'latin1');
  block.fill(0x20, 148, 156);
  block.write(
    `${[...block]
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  );
  return block;
}

export interface ImageParts {
  name?: string;
  /** Each a tar archive. */
  layers: readonly Buffer[];
  config?: Record<string, unknown>;
  architecture?: string;
  compress?: (layer: Buffer) => Buffer;
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** The files of an OCI image layout. */
export function layoutOf(parts: ImageParts): Map<string, Buffer> {
  const { name, layers, config = {}, architecture = machineArchitecture(), compress = gzipSync } = parts;
  const files = new Map<string, Buffer>();
  const blob = (bytes: Buffer, mediaType: string) => {
    const digest = sha256(bytes);
    files.set(`blobs/sha256/${digest.slice(7)}`, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const packed = layers.map((layer) => blob(compress(layer), 'application/vnd.oci.image.layer.v1.tar+gzip'));
  const own = { architecture, os: 'linux', config, rootfs: { type: 'layers', diff_ids: layers.map(sha256) } };
  const manifest = blob(
    json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: blob(json(own), 'application/vnd.oci.image.config.v1+json'),
      layers: packed,
    }),
    'application/vnd.oci.image.manifest.v1+json',
  );
  const annotations =
    name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': name } };
  files.set('oci-layout', json({ imageLayoutVersion: '1.0.0' }));
  files.set('index.json', json({ schemaVersion: 2, manifests: [{ ...manifest, ...annotations }] }));
  return files;
}

/** The files of what `docker save` writes. */
export function dockerOf({ name, layers, config = {} }: ImageParts): Map<string, Buffer> {
  const own = Buffer.from(
    JSON.stringify({
      architecture: machineArchitecture(),
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: layers.map(sha256) },
    }),
  );
  const Config = `${sha256(own).slice(7)}.json`;
  const Layers = layers.map((_, i) => `${i}/layer.tar`);
  const manifest = [{ Config, RepoTags: name === undefined ? null : [name], Layers }];
  return new Map<string, Buffer>([
    [Config, own],
    ...layers.map((layer, i): [string, Buffer] => [`${i}/layer.tar`, layer]),
    ['manifest.json', Buffer.from(JSON.stringify(manifest))],
  ]);
}

export const tarOfFiles = (files: ReadonlyMap<string, Buffer>): Buffer =>
  tarOf([...files].map(([name, content]) => ({ name, content })));

/** As a folder. */
export function writeFiles(folder: string, files: ReadonlyMap<string, Buffer>): string {
  for (const [name, bytes] of files) {
    fs.mkdirSync(dirname(join(folder, name)), { recursive: true });
    fs.writeFileSync(join(folder, name), bytes);
  }
  return folder;
}

const APPLETS = [
  'sh',
  'cat',
  'echo',
  'env',
  'httpd',
  'id',
  'ls',
  'ping',
  'ps',
  'sleep',
  'stat',
  'tar',
  'touch',
  'wget',
];

/** The smallest image that does things: Debian's static busybox and a page to serve. */
export function busyboxLayer(more: readonly TarEntry[] = []): Buffer {
  return tarOf([
    { name: 'bin/' },
    { name: 'bin/busybox', content: fs.readFileSync('/bin/busybox'), mode: 0o755 },
    ...APPLETS.map((name) => ({ name: `bin/${name}`, type: '2', target: 'busybox' })),
    { name: 'etc/' },
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/srv:/bin/sh\n' },
    { name: 'etc/group', content: 'root:x:0:\nweb:x:1001:\nextra:x:1002:web\n' },
    { name: 'tmp/', mode: 0o1777 },
    { name: 'root/', mode: 0o700 },
    { name: 'srv/', uid: 1000, gid: 1001 },
    { name: 'srv/index.html', content: 'served from an image\n', uid: 1000, gid: 1001 },
    ...more,
  ]);
}
