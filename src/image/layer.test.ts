import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { needsRoot, testFolder } from '../kernel/test-netns.ts';
import { HeddleError } from '../lib/errors.ts';
import { applyLayer } from './layer.ts';
import { type TarEntry, tarOf } from './testing/make.ts';
import { createTarReader } from './tar-reader.ts';

interface Unpacked {
  root: string;
  skipped: string[];
  apply(entries: readonly TarEntry[], limits?: { bytes: number; entries: number }): Promise<void>;
  tree(): string[];
}

function unpacked(t: TestContext): Unpacked {
  const root = join(testFolder(t), 'root');
  fs.mkdirSync(root);
  const skipped: string[] = [];
  return {
    root,
    skipped,
    apply: (entries, budget = { bytes: 1 << 20, entries: 1000 }) =>
      applyLayer(root, {
        reader: createTarReader(Readable.from([tarOf(entries)])),
        budget: { ...budget },
        skip: (name, why) => void skipped.push(`${name}: ${why}`),
        progress() {},
      }),
    tree: () => (fs.readdirSync(root, { recursive: true }) as string[]).toSorted(),
  };
}

const refuses = (work: Promise<void>, words: RegExp) =>
  assert.rejects(work, (error) => error instanceof HeddleError && words.test(error.message));

test('files, folders and links get the owner, the mode and the time that the layer says', {
  skip: needsRoot,
}, async (t) => {
  const { root, apply } = unpacked(t);
  await apply([
    { name: 'a/', mode: 0o2750, uid: 5, gid: 6 },
    { name: './a/b', content: 'text', mode: 0o4755, uid: 7, gid: 8 },
    { name: 'a/c', type: '2', target: '/a/b', uid: 9 },
    { name: 'a/d', type: '1', target: 'a/b' },
    { name: 'deep/er/file', content: 'x' },
  ]);
  const [a, b, c] = ['a', 'a/b', 'a/c'].map((name) => fs.lstatSync(join(root, name)));
  assert.deepEqual([a!.mode & 0o7777, a!.uid, a!.gid], [0o2750, 5, 6]);
  assert.deepEqual([b!.mode & 0o7777, b!.uid, b!.gid, b!.mtimeMs], [0o4755, 7, 8, 1_700_000_000_000]);
  assert.deepEqual([c!.uid, fs.readlinkSync(join(root, 'a/c'))], [9, '/a/b']);
  assert.equal(fs.statSync(join(root, 'a/d')).ino, b!.ino);
  assert.equal(fs.statSync(join(root, 'deep/er')).mode & 0o777, 0o755);
  assert.equal(a!.mtimeMs, 1_700_000_000_000);
});

test('whiteouts take away what layers below have, and nothing of their own layer', {
  skip: needsRoot,
}, async (t) => {
  const { root, apply, tree } = unpacked(t);
  await apply([
    { name: 'a/x', content: '1' },
    { name: 'a/y', content: '1' },
    { name: 'b/z', content: '1' },
    { name: 'c/d/e', content: '1' },
  ]);
  await apply([
    { name: 'a/new', content: '2' },
    { name: 'a/.wh..wh..opq' },
    { name: 'b/.wh.z' },
    { name: 'c/d/own', content: '2' },
    { name: 'c/.wh.d' },
    { name: '.wh.nosuch' },
    { name: '.wh..wh.plnk' },
  ]);
  assert.deepEqual(tree(), ['a', 'a/new', 'b', 'c', 'c/d', 'c/d/own']);
  await refuses(apply([{ name: 'b/.wh...' }]), /takes nothing away/);
  assert.ok(fs.existsSync(join(root, 'b')));
});

test('a layer may put one kind in the place of another', { skip: needsRoot }, async (t) => {
  const { root, apply } = unpacked(t);
  await apply([
    { name: 'a/x', content: '1' },
    { name: 'b', type: '2', target: 'a' },
    { name: 'c', content: '1' },
  ]);
  await apply([
    { name: 'a', content: 'file' },
    { name: 'b/' },
    { name: 'b/in', content: '2' },
    { name: 'c', type: '2', target: 'a' },
  ]);
  assert.equal(fs.readFileSync(join(root, 'a'), 'utf8'), 'file');
  assert.ok(fs.lstatSync(join(root, 'b')).isDirectory());
  assert.equal(fs.readFileSync(join(root, 'c'), 'utf8'), 'file');
});

test('links in the way lead where they would in a chroot', { skip: needsRoot }, async (t) => {
  const { root, apply } = unpacked(t);
  const outside = join(root, '../outside');
  fs.mkdirSync(outside);
  await apply([
    { name: 'usr/lib/' },
    { name: 'lib', type: '2', target: 'usr/lib' },
    { name: 'up', type: '2', target: '../../../../../..' },
    { name: 'abs', type: '2', target: outside },
    { name: 'lib/real', content: '1' },
    { name: 'up/top', content: '1' },
    { name: 'abs/in', content: '1' },
    { name: 'file', type: '2', target: join(outside, 'file') },
    { name: 'file', content: 'not through the link' },
  ]);
  for (const path of ['usr/lib/real', 'top']) assert.ok(fs.lstatSync(join(root, path)).isFile());
  assert.deepEqual(fs.readdirSync(outside), []);
  assert.ok(fs.lstatSync(join(root, 'file')).isFile());
});

test('what leads out, in circles, or through a file is refused; devices, pipes and attributes are passed over by name', {
  skip: needsRoot,
}, async (t) => {
  const { apply, skipped, tree } = unpacked(t);
  await refuses(apply([{ name: '../x', content: '1' }]), /leads out of the image/);
  await refuses(apply([{ name: 'a', type: '1', target: '../../etc/passwd' }]), /leads out of the image/);
  await refuses(
    apply([{ name: 'a', type: '1', target: '/etc/passwd' }]),
    /is a link to "\/etc\/passwd", which is no file/,
  );
  await refuses(
    apply([
      { name: 'l', type: '2', target: 'l' },
      { name: 'l/x', content: '1' },
    ]),
    /too many links/,
  );
  await refuses(
    apply([
      { name: 'f', content: '1' },
      { name: 'f/x', content: '1' },
    ]),
    /lies in what is no folder/,
  );
  await refuses(apply([{ name: 'x', pax: { path: 'a\0b' } }]), /leads out of the image/);
  const before = tree();
  await apply([
    { name: 'null', type: '3' },
    { name: 'disk', type: '4' },
    { name: 'pipe', type: '6' },
    { name: 'odd', type: 'Z' },
    { name: 'ping', content: '1', pax: { 'SCHILY.xattr.security.capability': 'x' } },
  ]);
  assert.deepEqual(tree(), [...before, 'ping'].toSorted());
  assert.deepEqual(skipped, [
    'null: a char device',
    'disk: a block device',
    'pipe: a named pipe',
    'odd: an entry of unknown kind',
    'ping: extended attributes (security.capability)',
  ]);
});

test('an archive unpacks to no more than is allowed', { skip: needsRoot }, async (t) => {
  const { apply } = unpacked(t);
  await refuses(
    apply([{ name: 'a', content: 'x'.repeat(11) }], { bytes: 10, entries: 9 }),
    /more than is allowed/,
  );
  await refuses(apply([{ name: 'a' }, { name: 'b' }], { bytes: 10, entries: 1 }), /more than is allowed/);
});

test('whatever a layer says, nothing outside of the root is made, changed or removed', {
  skip: needsRoot,
}, async (t) => {
  const folder = testFolder(t);
  const part = fc.constantFrom('a', 'b', '..', '.', '', '.wh.a', '.wh..wh..opq', '.wh...', 'outside', 'root');
  const path = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));
  const entry = fc.record({
    name: fc.oneof(
      path,
      path.map((one) => `/${one}`),
    ),
    type: fc.constantFrom('0', '1', '2', '3', '5', '6'),
    target: fc.oneof(
      path,
      path.map((one) => `/${one}`),
      fc.constant(join(folder, 'outside/keep')),
    ),
    content: fc.constant('changed'),
    mode: fc.constantFrom(0o644, 0o4777),
    uid: fc.constantFrom(0, 12, 70_000),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
      const home = join(folder, String(run++));
      fs.mkdirSync(join(home, 'outside'), { recursive: true });
      fs.mkdirSync(join(home, 'root'));
      fs.writeFileSync(join(home, 'outside/keep'), 'kept', { mode: 0o600 });
      const reader = createTarReader(
        Readable.from([tarOf(entries.map((one) => (one.type === '0' ? one : { ...one, content: '' })))]),
      );
      const layer = { reader, budget: { bytes: 1 << 20, entries: 1000 }, skip() {}, progress() {} };
      await applyLayer(join(home, 'root'), layer).catch((error: unknown) => {
        if (!(error instanceof HeddleError)) throw error;
      });
      assert.deepEqual(fs.readdirSync(home).toSorted(), ['outside', 'root']);
      assert.deepEqual(fs.readdirSync(join(home, 'outside')), ['keep']);
      const kept = fs.statSync(join(home, 'outside/keep'));
      assert.equal(fs.readFileSync(join(home, 'outside/keep'), 'utf8'), 'kept');
      assert.deepEqual([kept.mode & 0o7777, kept.uid, kept.nlink], [0o600, process.getuid!(), 1]);
      fs.rmSync(home, { recursive: true });
    }),
    { numRuns: 60 },
  );
});

test('folders that an archive does not name count as well', { skip: needsRoot }, async (t) => {
  const { apply } = unpacked(t);
  const deep = Array.from({ length: 30 }, (_, i) => ({ name: `${i}${'/a'.repeat(40)}` }));
  await refuses(apply(deep), /unpacks to more than is allowed/);
});
