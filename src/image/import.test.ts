import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { needsRoot, testFolder } from '../kernel/test-netns.ts';
import { HeddleError } from '../lib/errors.ts';
import { importImages } from './import.ts';
import { machineArchitecture } from './platform.ts';
import { openStore } from './store.ts';
import { dockerOf, type ImageParts, layoutOf, tarOf, tarOfFiles, writeFiles } from './testing/make.ts';

const LAYERS = [
  tarOf([{ name: 'etc/' }, { name: 'etc/name', content: 'one' }, { name: 'gone', content: '1' }]),
  tarOf([{ name: 'etc/name', content: 'two' }, { name: '.wh.gone' }]),
];
const PARTS: ImageParts = { name: 'shop/web:1', layers: LAYERS, config: { Cmd: ['serve'] } };
const FULL = 'docker.io/shop/web:1';

function world(t: TestContext) {
  const folder = testFolder(t);
  const store = openStore(join(folder, 'images'));
  const from = (path: string, more: { name?: string; maxBytes?: number } = {}) =>
    importImages({
      path,
      store,
      architecture: machineArchitecture(),
      maxBytes: 1 << 20,
      maxEntries: 1000,
      now: () => new Date(0),
      ...more,
    });
  let count = 0;
  const file = (bytes: Buffer): string => {
    const path = join(folder, `${count++}.tar`);
    fs.writeFileSync(path, bytes);
    return path;
  };
  const clean = () => {
    assert.deepEqual(fs.readdirSync(join(store.root, 'incoming')), []);
    return store.list();
  };
  return { folder, store, from, file, clean };
}

const code = (work: Promise<unknown>, wanted: string, words = /./) =>
  assert.rejects(work, (error) => {
    assert.ok(error instanceof HeddleError, String(error));
    assert.equal(error.code, wanted, error.message);
    assert.match(error.message, words);
    return true;
  });

const layout = layoutOf(PARTS);
const sources: [what: string, make: (w: ReturnType<typeof world>) => string][] = [
  ['a layout as a folder', ({ folder }) => writeFiles(join(folder, 'layout'), layout)],
  ['a layout as a tar file', ({ file }) => file(tarOfFiles(layout))],
  ['a layout in gzip', ({ file }) => file(gzipSync(tarOfFiles(layout)))],
  ['a layout in zstd', ({ file }) => file(zstdCompressSync(tarOfFiles(layout)))],
  ['layers in zstd', ({ file }) => file(tarOfFiles(layoutOf({ ...PARTS, compress: zstdCompressSync })))],
  ['layers as they are', ({ file }) => file(tarOfFiles(layoutOf({ ...PARTS, compress: (layer) => layer })))],
  ['what docker save writes', ({ file }) => file(tarOfFiles(dockerOf(PARTS)))],
];
for (const [what, make] of sources)
  test(`an image is imported from ${what}, and again without change`, { skip: needsRoot }, async (t) => {
    const w = world(t);
    const path = make(w);
    const [first] = await w.from(path);
    assert.deepEqual([first?.names, first?.known], [[FULL], false]);
    const [again] = await w.from(path);
    assert.deepEqual([again?.id, again?.known], [first?.id, true]);
    const root = w.store.rootfs(first!.id);
    assert.equal(fs.readFileSync(join(root, 'etc/name'), 'utf8'), 'two');
    assert.ok(!fs.existsSync(join(root, 'gone')));
    for (const name of ['shop/web:1', FULL, 'index.docker.io/shop/web:1', first!.id, first!.id.slice(7, 19)])
      assert.equal(w.store.find(name)?.id, first!.id, name);
    assert.deepEqual(w.store.get(first!.id)?.config.config?.Cmd, ['serve']);
    assert.equal(w.clean().length, 1);
  });

test('of an index, the image for this machine is taken; it is found by the digests on the way', {
  skip: needsRoot,
}, async (t) => {
  const w = world(t);
  const own = layoutOf(PARTS);
  const other = layoutOf({ ...PARTS, architecture: 'riscv64' });
  const manifestIn = (files: Map<string, Buffer>) =>
    JSON.parse(files.get('index.json')!.toString()).manifests[0];
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        { ...manifestIn(other), platform: { os: 'linux', architecture: 'riscv64' } },
        { ...manifestIn(own), platform: { os: 'linux', architecture: machineArchitecture() } },
        { ...manifestIn(own), platform: { os: 'unknown', architecture: 'unknown' } },
      ],
    }),
  );
  const { digestOf } = await import('./archive.ts');
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const files = new Map([
    ...other,
    ...own,
    [`blobs/sha256/${digestOf(index).slice(7)}`, index],
    [
      'index.json',
      Buffer.from(
        JSON.stringify({ manifests: [{ mediaType, digest: digestOf(index), size: index.length }] }),
      ),
    ],
  ]);
  const [one] = await w.from(w.file(tarOfFiles(files)), { name: 'web' });
  assert.deepEqual(one?.names, ['docker.io/library/web:latest']);
  assert.equal(w.store.find(`web@${digestOf(index)}`)?.id, one?.id);
  await code(w.from(w.file(tarOfFiles(other))), 'ImagePlatform', /linux\/riscv64/);
  assert.equal(w.clean().length, 1);
});

test('what is damaged, changed or no image is refused, and nothing of it is kept', {
  skip: needsRoot,
}, async (t) => {
  const w = world(t);
  const changed = new Map(layout);
  const blob = [...layout.keys()].find((name) => layout.get(name)![0] === 0x1f)!;
  changed.set(blob, gzipSync(tarOf([{ name: 'evil', content: '1' }])));
  await code(w.from(w.file(tarOfFiles(changed))), 'ImageDigest');
  await code(
    w.from(w.file(tarOfFiles(new Map([...layout].filter(([name]) => name !== blob))))),
    'BadArchive',
    /has no blobs/,
  );
  const cut = new Map(layout).set(blob, layout.get(blob)!.subarray(0, 60));
  await code(w.from(w.file(tarOfFiles(cut))), 'BadArchive', /damaged/);
  for (const text of [
    '[]',
    '{"manifests":[null]}',
    '{"manifests":{}}',
    '{"manifests":[{"digest":"../../etc/passwd"}]}',
    'x',
  ])
    await code(w.from(w.file(tarOfFiles(new Map([['index.json', Buffer.from(text)]])))), 'BadArchive');
  const docker = dockerOf(PARTS);
  const manifest = JSON.parse(docker.get('manifest.json')!.toString());
  for (const Layers of [['/etc/passwd', '../x'], ['0/layer.tar'], [null, 5]])
    await code(
      w.from(
        writeFiles(
          join(w.folder, 'docker'),
          docker.set('manifest.json', Buffer.from(JSON.stringify([{ ...manifest[0], Layers }]))),
        ),
      ),
      'BadArchive',
    );
  await code(w.from(w.file(Buffer.from('BZh91AY'))), 'BadArchive', /bzip2/);
  await code(w.from(w.file(Buffer.alloc(10_000))), 'BadArchive');
  await code(w.from(join(w.folder, 'nosuch')), 'NoSuchFile');
  await code(w.from(w.file(tarOfFiles(layout)), { maxBytes: 3 }), 'ImageTooLarge');
  // What is decompressed on the way to be looked into takes room, too.
  const bomb = Buffer.concat([tarOfFiles(layout), Buffer.alloc(2 << 20)]);
  await code(w.from(w.file(gzipSync(bomb))), 'ImageTooLarge', /archive/);
  await code(
    w.from(w.file(tarOfFiles(layoutOf({ layers: LAYERS })))),
    'BadImageName',
    /does not say the name/,
  );
  await code(w.from(w.file(tarOfFiles(layoutOf({ layers: LAYERS }))), { name: 'No:Way:' }), 'BadImageName');
  assert.deepEqual(w.clean(), []);
});

test('an image goes with its last name, not while a pod has it; what is left of the dead goes as well', {
  skip: needsRoot,
}, async (t) => {
  const w = world(t);
  const [one] = await w.from(w.file(tarOfFiles(layout)));
  await w.from(w.file(tarOfFiles(layout)), { name: 'web:2' });
  const pod = join(w.folder, 'pod');
  fs.mkdirSync(pod);
  await w.store.use('uid', { pod: 'shop/web-1', folder: pod, images: [one!.id] });
  assert.deepEqual(w.store.list()[0]?.pods, ['shop/web-1']);
  assert.deepEqual(await w.store.remove('web:2', { force: false }), {
    name: 'docker.io/library/web:2',
    image: undefined,
  });
  const gone = async () => w.store.remove('shop/web:1', { force: false });
  await code(gone(), 'ImageInUse', /in use by shop\/web-1/);
  assert.ok(w.store.get(one!.id));
  // A pod whose folder is gone has gone with its node.
  fs.rmdirSync(pod);
  fs.mkdirSync(join(w.store.root, 'incoming/left'));
  assert.deepEqual(await gone(), { name: FULL, image: one!.id });
  assert.deepEqual(w.clean(), []);
  await code(gone(), 'NoSuchImage');

  const [again] = await w.from(w.file(tarOfFiles(layout)));
  fs.mkdirSync(pod);
  await w.store.use('uid', { pod: 'shop/web-1', folder: pod, images: [again!.id] });
  assert.equal((await w.store.remove(again!.id, { force: true })).image, again!.id);
  assert.deepEqual(w.clean(), []);
});

test('a name that is given to another image takes the old one along, unless a pod has it', {
  skip: needsRoot,
}, async (t) => {
  const w = world(t);
  const [old] = await w.from(w.file(tarOfFiles(layout)));
  const next = (content: string) =>
    w.from(w.file(tarOfFiles(layoutOf({ ...PARTS, layers: [tarOf([{ name: 'v', content }])] }))));
  const [second] = await next('2');
  assert.deepEqual(
    w.clean().map(({ id }) => id),
    [second!.id],
  );
  await w.store.use('uid', { pod: 'shop/web-1', folder: w.folder, images: [second!.id] });
  const [third] = await next('3');
  assert.deepEqual(new Set(w.clean().map(({ id }) => id)), new Set([second!.id, third!.id]));
  assert.equal(w.store.find('shop/web:1')?.id, third!.id);
  assert.equal(w.store.get(old!.id), undefined);
});
