import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { spawnIn } from '../kernel/spawn.ts';
import { needsRoot } from '../kernel/test-netns.ts';
import { clusterPaths } from './paths.ts';
import { stopCluster } from './stop.ts';

/** Lets go of the lock when it is asked to end, and then writes what Node.js writes when a process exits. */
const LINGERS = `
const { mkdirSync, writeFileSync } = await import('node:fs');
const { acquireLock } = await import(process.argv[1]);
const lock = acquireLock(process.argv[2], 'supervisor');
process.on('SIGTERM', () => {
  lock.release();
  const timer = setInterval(() => {
    mkdirSync(process.argv[3], { recursive: true });
    writeFileSync(process.argv[3] + '/' + performance.now(), 'code');
  }, 5);
  setTimeout(() => { clearInterval(timer); process.exit(); }, 400);
});
console.log('holds it');
setInterval(() => {}, 1000);
`;

test('what a supervisor writes in its last moments goes with the data directory', {
  skip: needsRoot,
  timeout: 120_000,
}, async (t) => {
  const parent = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-`));
  const paths = clusterPaths(join(parent, 'cluster'));
  mkdirSync(paths.dataDir, { mode: 0o700 });
  writeFileSync(paths.config, '{}');
  const lock = new URL('lock.ts', import.meta.url).href;
  const child = spawnIn({
    argv: [process.execPath, '--input-type=module', '-e', LINGERS, lock, paths.lock, paths.compileCache],
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(parent, { recursive: true, force: true });
  });
  assert.ok(child.stdout);
  await once(child.stdout, 'data');
  const { found, left } = await stopCluster({ paths, keep: false, onStep: () => {} });
  await ended;
  assert.deepEqual({ found, left }, { found: true, left: [] });
  assert.equal(existsSync(paths.dataDir), false);
});
