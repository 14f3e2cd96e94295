import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { testPod } from '../test-node.ts';
import { type DiskFolders, hasDiskLimits, overuse } from './disk-use.ts';
import type { Spec } from './test-pods.ts';

test('a pod that takes more of the disk than it may is told in a kubelet’s words', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'heddle-test-disk-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const write = (path: string, kib: number) => {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), Buffer.alloc(kib << 10, 'x'));
  };
  write('volumes/data/deep/er/file', 300);
  write('files/main/x', 200);
  write('logs/main/0.log', 200);
  symlinkSync(root, join(root, 'files/main/out'));
  const folders: DiskFolders = {
    volume: (name) => join(root, 'volumes', name),
    container: (name) => [join(root, 'files', name), join(root, 'logs', name)],
  };
  const wordsOf = (limit: string | undefined, sizeLimit?: string, more: Partial<Spec> = {}) => {
    const resources = limit === undefined ? {} : { limits: { 'ephemeral-storage': limit } };
    const pod = testPod('one', {
      containers: [{ name: 'main', image: 'none', resources }],
      volumes: [{ name: 'data', emptyDir: sizeLimit === undefined ? {} : { sizeLimit } }],
      ...more,
    });
    assert.equal(hasDiskLimits(pod), limit !== undefined || sizeLimit !== undefined);
    return overuse(pod, folders, new AbortController().signal);
  };
  assert.equal(await wordsOf(undefined), undefined);
  assert.equal(await wordsOf('1Mi', '1Mi'), undefined);
  assert.equal(
    await wordsOf(undefined, '256Ki'),
    'Usage of EmptyDir volume "data" exceeds the limit "256Ki". ',
  );
  const whole = 'Pod ephemeral local storage usage exceeds the total limit of containers 512Ki. ';
  assert.equal(await wordsOf('512Ki'), whole, 'its volume and its container together');
  // Its logs count; what a link leads to does not.
  const volumes = { volumes: [] };
  assert.equal(await wordsOf('600Ki', undefined, volumes), undefined);
  const containers = [
    { name: 'main', image: 'none', resources: { limits: { 'ephemeral-storage': '300Ki' } } },
    { name: 'other', image: 'none', resources: { limits: { 'ephemeral-storage': '2Mi' } } },
  ];
  assert.equal(
    await wordsOf('', undefined, { ...volumes, containers }).catch((error: unknown) => String(error)),
    'Container main exceeded its local ephemeral storage limit "300Ki". ',
  );
});
