import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Spec, processPod, sh } from './test-pods.ts';
import { prepareVolumes, volumeFolder } from './volumes.ts';

async function pod(t: TestContext, volumes: NonNullable<Spec['volumes']>) {
  const folder = await mkdtemp(join(tmpdir(), `heddle-test-${process.pid}-volumes-`));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const made = processPod('web', [sh('main', ':')], { volumes });
  let value = 'one';
  return {
    folder,
    change: (to: string) => (value = to),
    prepare: () =>
      prepareVolumes(
        made,
        folder,
        {
          addresses: [],
          hostAddresses: [],
          node: { cpus: 1, memory: 1 },
          configMap: () => new Map([['key', Buffer.from(value)]]),
          secret: () => new Map([['key', Buffer.from(value)]]),
          token: ({ audience = '' }) => `${audience} ${value}`,
        },
        { owner: 0, group: (id) => id, onlyUser: () => 77 },
      ),
  };
}

type Source = NonNullable<NonNullable<NonNullable<Spec['volumes']>[number]['projected']>['sources']>[number];

const sources = (path: string): [kind: string, source: Source][] => [
  ['configMap', { configMap: { name: 'c', items: [{ key: 'key', path }] } }],
  ['secret', { secret: { name: 's', items: [{ key: 'key', path }] } }],
  ['serviceAccountToken', { serviceAccountToken: { path } }],
  ['downwardAPI', { downwardAPI: { items: [{ path, fieldRef: { fieldPath: 'metadata.name' } }] } }],
];

for (const path of ['../../../out', 'in/../../../../out', '/out', '..data/out'])
  for (const [kind, source] of sources(path))
    test(`a ${kind} does not write ${path}, which is outside of its volume`, async (t) => {
      const { folder, prepare } = await pod(t, [{ name: 'data', projected: { sources: [source] } }]);
      await assert.rejects(prepare(), /the path ".*out" does not lie in the volume data/);
      const written = readdirSync(folder, { recursive: true, encoding: 'utf8' });
      assert.ok(!written.some((name) => name.endsWith('out')), written.join(' '));
    });

test('an emptyDir stays as it is while other volumes are renewed', async (t) => {
  const { folder, prepare } = await pod(t, [{ name: 'data', emptyDir: {} }]);
  await prepare();
  const before = statSync(volumeFolder(folder, 'data'), { bigint: true });
  assert.equal(before.mode & 0o7777n, 0o777n);
  await prepare();
  const after = statSync(volumeFolder(folder, 'data'), { bigint: true });
  assert.equal(after.ctimeNs, before.ctimeNs, 'not closed to the pod’s users for a moment');
});

test('a token is for the pod’s user alone, and replaced as a whole', async (t) => {
  const wish = { path: 'token', audience: 'vault', expirationSeconds: 600 };
  const { folder, prepare, change } = await pod(t, [
    { name: 'data', projected: { sources: [{ serviceAccountToken: wish }] } },
  ]);
  await prepare();
  const path = join(volumeFolder(folder, 'data'), 'token');
  const { uid, mode } = statSync(path);
  assert.deepEqual([uid, mode & 0o777], [77, 0o600]);
  change('two');
  await prepare();
  assert.equal(readFileSync(path, 'utf8'), 'vault two');
});

test('what an agent that was killed left of a change is in nobody’s way', async (t) => {
  const { folder, prepare, change } = await pod(t, [{ name: 'data', configMap: { name: 'c' } }]);
  await prepare();
  const root = volumeFolder(folder, 'data');
  mkdirSync(join(root, '..1.2'));
  symlinkSync('..1.2', join(root, '..data.new'));
  change('two');
  await prepare();
  assert.equal(readFileSync(join(root, 'key'), 'utf8'), 'two');
  assert.ok(!existsSync(join(root, '..1.2')));
  assert.equal(readdirSync(root).length, 3, 'the files, the link to them, and the key');
});
