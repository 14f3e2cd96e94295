import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bans, edges, environmentReader, layers, modules, pure } from './imports.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

interface Source {
  readonly path: string;
  readonly room: string;
  readonly text: string;
  readonly imports: readonly string[];
  /** Those of `imports` that are there at run time. */
  readonly values: readonly string[];
  readonly isTest: boolean;
}

/** Tests, and what only tests use: `test-netns.ts`, `testing/lab.ts`. */
const isTest = (path: string): boolean => /\.test\.ts$|\/test-[^/]*\.ts$|\/testing(\/|\.ts$)/.test(path);

function sources(): Source[] {
  return readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => {
      const path = relative(root, join(entry.parentPath, entry.name));
      const text = readFileSync(join(root, path), 'utf8');
      const found = text.matchAll(
        /^\s*(?:import|export)\b[^'"\n]*?(?:\{[^}]*\}[^'"\n]*?)?from\s+['"]([^'"]+)['"]|^\s*import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm,
      );
      const all = [...found].map((m) => ({
        type: /^\s*(import|export)\s+type\b/.test(m[0]),
        of: m[1] ?? m[2] ?? m[3] ?? '',
      }));
      const imports = all.map(({ of }) => of);
      const values = all.filter(({ type }) => !type).map(({ of }) => of);
      return { path, room: path.split('/')[1] ?? '', text, imports, values, isTest: isTest(path) };
    });
}

const all = sources();
const layerOf = new Map(layers.flatMap((layer, depth) => layer.rooms.map((room) => [room, depth] as const)));

/** The room a relative import of a source under src/ leads to, or undefined when it leads elsewhere. */
function targetRoom(source: Source, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const target = relative(root, resolve(root, dirname(source.path), specifier));
  return target.startsWith('src/') ? target.split('/')[1] : undefined;
}

const crossings = all
  .filter((source) => !source.isTest)
  .flatMap((source) =>
    source.imports.map((specifier) => ({ source, specifier, to: targetRoom(source, specifier) })),
  )
  .filter(({ source, to }) => to !== undefined && to !== source.room);

test('every room has a layer', () => {
  const unknown = [...new Set(all.map((source) => source.room))].filter((room) => !layerOf.has(room));
  assert.deepEqual(unknown, []);
});

test('imports point down, or along a written edge', () => {
  const wrong = crossings
    .filter(({ source, to }) => {
      const [from, target] = [layerOf.get(source.room), layerOf.get(to ?? '')];
      if (from === undefined || target === undefined) return true;
      if (target < from) return false;
      return !edges.some((edge) => edge.from === source.room && edge.to === to);
    })
    .map(({ source, specifier }) => `${source.path} imports ${specifier}`);
  assert.deepEqual(wrong, []);
});

test('no room reaches what is banned for it', () => {
  const wrong = crossings.flatMap(({ source, to, specifier }) =>
    bans
      .filter((ban) => ban.from === source.room && ban.to === to)
      .map((ban) => `${source.path} imports ${specifier}: ${ban.why}`),
  );
  assert.deepEqual(wrong, []);
});

test('every written edge is used', () => {
  const unused = edges.filter(
    (edge) => !crossings.some(({ source, to }) => source.room === edge.from && to === edge.to),
  );
  assert.deepEqual(unused, []);
});

for (const { module, only, why } of modules)
  test(`${module} is imported only by ${only.join(', ')}: ${why}`, () => {
    const wrong = all
      .filter((source) => !source.isTest && source.values.includes(module))
      .filter((source) => !only.some((prefix) => source.path.startsWith(prefix)))
      .map((source) => source.path);
    assert.deepEqual(wrong, []);
  });

for (const { room, why } of pure)
  test(`${room} does no I/O and reads no clock: ${why}`, () => {
    const wrong = all
      .filter((source) => source.room === room && !source.isTest)
      .flatMap((source) =>
        [
          ...source.imports.filter((specifier) => specifier.startsWith('node:')),
          ...(/\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bMath\.random\(|\bprocess\./.exec(
            source.text,
          ) ?? []),
        ].map((what) => `${source.path}: ${what}`),
      );
    assert.deepEqual(wrong, []);
  });

test('one file reads the environment', () => {
  const wrong = all
    .filter(
      (source) => !source.isTest && source.path !== environmentReader && /\bprocess\.env\b/.test(source.text),
    )
    .map((source) => source.path);
  assert.deepEqual(wrong, []);
});
