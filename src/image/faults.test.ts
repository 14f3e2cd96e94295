import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run, spawnIn } from '../kernel/spawn.ts';
import { needsRoot, testFolder } from '../kernel/test-netns.ts';
import { HeddleError } from '../lib/errors.ts';
import { importImages } from './import.ts';
import { machineArchitecture } from './platform.ts';
import { openStore } from './store.ts';
import { layoutOf, tarOf, writeFiles } from './testing/make.ts';

const importer = fileURLToPath(new URL('testing/import-once.ts', import.meta.url));

/** Many files, so that there is a middle. */
const big = (files: number, bytes: number) =>
  layoutOf({
    name: 'test/big:1',
    layers: [0, 1].map((layer) =>
      tarOf(
        Array.from({ length: files }, (_, i) => ({
          name: `f${layer}-${i}`,
          content: Buffer.alloc(bytes, i),
        })),
      ),
    ),
  });

const importInto = (root: string, path: string) =>
  importImages({
    path,
    store: openStore(root),
    architecture: machineArchitecture(),
    maxBytes: 1 << 30,
    maxEntries: 10_000,
    now: () => new Date(),
  });

test('a full disk is said to be one, and nothing is kept', { skip: needsRoot }, async (t) => {
  const folder = testFolder(t);
  const small = join(folder, 'small');
  fs.mkdirSync(small);
  const mounted = await run(['mount', '-t', 'tmpfs', '-o', 'size=400k', 'heddle-test', small]);
  assert.equal(mounted.code, 0, mounted.stderr);
  try {
    await assert.rejects(
      importInto(join(small, 'images'), writeFiles(join(folder, 'in'), big(100, 5000))),
      (error) => {
        assert.ok(error instanceof HeddleError, String(error));
        assert.equal(error.code, 'DiskFull', error.message);
        return true;
      },
    );
    assert.deepEqual(fs.readdirSync(join(small, 'images/incoming')), []);
    assert.deepEqual(openStore(join(small, 'images')).list(), []);
  } finally {
    await run(['umount', small]);
  }
});

test('an import that is killed at any point leaves no image, and the next one nothing of it', {
  skip: needsRoot,
}, async (t) => {
  const folder = testFolder(t);
  const root = join(folder, 'images');
  const path = writeFiles(join(folder, 'in'), big(300, 2000));
  let killed = 0;
  for (const files of [1, 300]) {
    const child = spawnIn({
      argv: [process.execPath, importer, root, path],
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const over = new Promise((resolve) => child.once('close', resolve));
    while (child.exitCode === null && filesIn(join(root, 'incoming')) < files)
      await new Promise((resolve) => setTimeout(resolve, 1));
    if (child.kill('SIGKILL')) killed++;
    await over;
    const [image, ...more] = openStore(root).list();
    assert.deepEqual(more, []);
    if (!image) continue;
    // It was done before it was hit.
    assert.equal(fs.readdirSync(openStore(root).rootfs(image.id)).length, 600);
    await openStore(root).remove('test/big:1', { force: false });
  }
  assert.ok(killed > 0);
  const [done] = await importInto(root, path);
  assert.equal(done?.known, false);
  assert.equal(fs.readdirSync(openStore(root).rootfs(done.id)).length, 600);
  assert.deepEqual(fs.readdirSync(join(root, 'incoming')), []);
});

function filesIn(folder: string): number {
  try {
    return fs.readdirSync(folder, { recursive: true }).filter((name) => /\/f\d-\d+$/.test(String(name)))
      .length;
  } catch {
    // It appears and goes under our eyes.
    return 0;
  }
}
