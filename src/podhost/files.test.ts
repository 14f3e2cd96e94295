import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Pod } from '../api/types.ts';
import { podFiles, writePodFiles } from './files.ts';

test('a pod’s user can read its files, whatever the umask of the agent', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'heddle-pod-files-'));
  t.after(() => rm(folder, { recursive: true }));
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', namespace: 'shop' } } as Pod;
  const dns = { nameservers: ['10.96.0.10'], clusterDomain: 'cluster.local' };
  await writePodFiles(folder, pod, ['10.244.0.2'], dns, 1_000_000);
  for (const path of Object.values(podFiles(folder)) as string[])
    assert.equal((await stat(path)).mode & 0o777, 0o644, path);
});
