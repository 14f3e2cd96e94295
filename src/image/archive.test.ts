import { Readable } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../lib/errors.ts';
import { digestOf, findImages } from './archive.ts';
import type { Blobs } from './blobs.ts';
import { machineArchitecture } from './platform.ts';
import { dockerOf, layoutOf, tarOf } from './testing/make.ts';

const ofMap = (files: ReadonlyMap<string, Buffer>): Blobs => ({
  size: async (name) => files.get(name)?.length,
  stream: async (name) =>
    Readable.from([files.get(name) ?? Buffer.alloc(0)]) as Awaited<ReturnType<Blobs['stream']>>,
});

const PARTS = { name: 'test/a:1', layers: [tarOf([{ name: 'a', content: '1' }])] };

/** Every place of a document, as a path of keys. */
function placesIn(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => placesIn(inner, [...path, key]))];
}

function withChange(value: unknown, [key, ...rest]: readonly string[], to: unknown): unknown {
  if (key === undefined) return to;
  const copy = structuredClone(value) as Record<string, unknown>;
  copy[key] = withChange(copy[key], rest, to);
  return copy;
}

/** As an attacker has it: digests fit what was changed. */
function layoutWith(change: (document: unknown, which: string) => unknown): Map<string, Buffer> {
  const files = layoutOf(PARTS);
  const put = (document: unknown) => {
    const bytes = Buffer.from(JSON.stringify(document) ?? '');
    files.set(`blobs/sha256/${digestOf(bytes).slice(7)}`, bytes);
    return { digest: digestOf(bytes), size: bytes.length };
  };
  const read = (name: string) => JSON.parse(files.get(name)!.toString());
  const index = read('index.json');
  const manifest = read(`blobs/sha256/${index.manifests[0].digest.slice(7)}`);
  const config = read(`blobs/sha256/${manifest.config.digest.slice(7)}`);
  Object.assign(manifest.config, put(change(config, 'config')));
  Object.assign(index.manifests[0], put(change(manifest, 'manifest')));
  files.set('index.json', Buffer.from(JSON.stringify(change(index, 'index')) ?? ''));
  return files;
}

const anything = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    0,
    -1,
    '',
    'sha256:',
    '../../etc/passwd',
    [],
    {},
    [null],
    true,
    1e300,
    '__proto__',
  ),
  fc.jsonValue(),
);

for (const which of ['index', 'manifest', 'config'])
  test(`whatever is anywhere in the ${which} of a layout, it is read or refused`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), anything, async (number, value) => {
        const files = layoutWith((document, name) => {
          const places = placesIn(document);
          return name === which ? withChange(document, places[number % places.length]!, value) : document;
        });
        await readOrRefuse(files);
      }),
      { numRuns: 150 },
    );
  });

test('whatever is anywhere in the manifest.json of docker save, it is read or refused', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), anything, async (number, value) => {
      const files = dockerOf(PARTS);
      const manifest: unknown = JSON.parse(files.get('manifest.json')!.toString());
      const places = placesIn(manifest);
      const changed = withChange(manifest, places[number % places.length]!, value);
      await readOrRefuse(files.set('manifest.json', Buffer.from(JSON.stringify(changed) ?? '')));
    }),
    { numRuns: 150 },
  );
});

async function readOrRefuse(files: ReadonlyMap<string, Buffer>): Promise<void> {
  try {
    for (const { names, digests, id, layers } of await findImages(ofMap(files), machineArchitecture())) {
      const texts = [...names, ...digests, id, ...layers.flatMap(({ file, diffId }) => [file, diffId])];
      if (!texts.every((text) => typeof text === 'string'))
        throw new Error(`no texts: ${JSON.stringify(texts)}`);
    }
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
  }
}
