import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const rooms = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());

/** Every TypeScript file of the repository that is ours. */
function files(): string[] {
  return ['src', 'test', 'bench', 'scripts', 'examples']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
        .map((entry) => relative(root, join(entry.parentPath, entry.name))),
    );
}

for (const room of rooms)
  test(`src/${room.name} says in a README what it promises and how it fails`, () => {
    const path = join(root, 'src', room.name, 'README.md');
    assert.ok(existsSync(path), `${path} is missing`);
    const text = readFileSync(path, 'utf8').toLowerCase();
    for (const word of ['purpose', 'contract', 'failure'])
      assert.ok(text.includes(word), `no word of ${word}`);
  });

test('file names are kebab-case', () => {
  const wrong = files().filter(
    (path) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.(test|bench|d))?\.ts$/.test(basename(path)),
  );
  assert.deepEqual(wrong, []);
});

test('no test is left focused', () => {
  const wrong = files().filter((path) =>
    /\b(test|it|describe)\.only\(/.test(readFileSync(join(root, path), 'utf8')),
  );
  assert.deepEqual(wrong, []);
});

test('the list of error codes and the code agree', () => {
  const listed = [...readFileSync(join(root, 'docs/errors.md'), 'utf8').matchAll(/^## (\S+)$/gm)].map(
    (m) => m[1] ?? '',
  );
  const used = new Set(
    files()
      .filter((path) => path.startsWith('src/') && !path.endsWith('.test.ts'))
      .flatMap((path) => [
        ...readFileSync(join(root, path), 'utf8').matchAll(
          /(?:new HeddleError|\bsuper)\(\s*'([A-Za-z0-9]+)'/g,
        ),
      ])
      .map((m) => m[1] ?? ''),
  );
  assert.deepEqual(
    [...used].filter((code) => !listed.includes(code)),
    [],
    'codes that docs/errors.md lacks',
  );
  assert.deepEqual(
    listed.filter((code) => !used.has(code)),
    [],
    'codes that nothing throws',
  );
  assert.deepEqual(
    listed,
    listed.toSorted((a, b) => a.localeCompare(b)),
    'codes out of order',
  );
});

test('docs/metrics.md lists the metrics that the code makes, and no others', () => {
  const listed = [
    ...readFileSync(join(root, 'docs/metrics.md'), 'utf8').matchAll(/`([a-z]+(?:_[a-z]+)+)`/g),
  ].map((m) => m[1] ?? '');
  const made = files()
    .filter((path) => path.startsWith('src/') && !path.endsWith('.test.ts'))
    .flatMap((path) => [
      ...readFileSync(join(root, path), 'utf8').matchAll(
        /\b((?:heddle|workqueue|apiserver|kubelet_http|container_network|iptables_rules)_[a-z_]+)\b/g,
      ),
    ])
    .map((m) => m[1] ?? '');
  const sorted = (names: readonly string[]) => [...new Set(names)].toSorted();
  assert.deepEqual(sorted(listed), sorted(made));
});
