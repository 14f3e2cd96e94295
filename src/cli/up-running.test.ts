import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { HeddleError } from '../lib/errors.ts';
import { type Asked, applyToRunning } from './up-running.ts';

/** What `up` says, with such flags, of a cluster that runs with these settings. */
async function said(t: TestContext, flags: object, runs: object = {}): Promise<HeddleError> {
  const dataDir = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-up-`));
  t.after(() => rmSync(dataDir, { recursive: true }));
  const paths = { dataDir, config: join(dataDir, 'config.json'), lock: join(dataDir, 'lock') };
  writeFileSync(paths.config, JSON.stringify({ nodes: [{ name: 'node-1' }], ...runs }));
  const asked = {
    request: { paths, config: { nodes: [{ name: 'node-1' }], ...flags } },
    manifests: { count: 0 },
  };
  return applyToRunning({ pid: 1 } as never, asked as unknown as Asked, {} as never).then(
    () => assert.fail('it was taken'),
    (error: unknown) => error as HeddleError,
  );
}

test('a running cluster is not opened to the machine by a later up, which says what to do', async (t) => {
  const error = await said(t, { allowHost: true });
  assert.equal(error.code, 'ClusterDiffers');
  assert.match(error.message, /--allow-host: the cluster is up already, without it/);
  assert.match(error.hint ?? '', /heddle down --keep --data-dir .* up again with --allow-host/);
});

test('whoever does not ask for it, or has it already, is told what else there is to say', async (t) => {
  for (const [flags, runs] of [
    [{ allowHost: true }, { allowHost: true }],
    [{}, { allowHost: true }],
    [{}, {}],
  ] as const)
    assert.equal((await said(t, flags, runs)).code, 'ClusterBusy');
});

test('nodes of a running cluster get no other room by a later up, which says what to do', async (t) => {
  const given = [{ name: 'node-1', resources: { cpu: '8' } }];
  for (const [flags, runs] of [
    [{ nodeResources: { cpu: '8' } }, {}],
    [{ eviction: { 'memory.available': { bytes: 1 } } }, {}],
    [{ nodes: given }, {}],
    [{}, { nodes: given }],
  ] as const) {
    const error = await said(t, flags, runs);
    assert.equal(error.code, 'ClusterDiffers');
    assert.match(error.hint ?? '', /heddle down --keep/);
  }
  const room = { nodes: given, nodeResources: { cpu: '8' } };
  assert.equal((await said(t, room, room)).code, 'ClusterBusy');
});
