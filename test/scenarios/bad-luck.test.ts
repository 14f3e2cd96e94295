import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clusterPaths } from '../../src/cluster/paths.ts';
import { deepOnly } from './deep-only.ts';
import { execute, localCluster, type Outcome, root, type Status, upCluster } from './local-cluster.ts';

type Heddle = (verb: string, ...args: string[]) => Promise<Outcome>;

/** The commands of a cluster in this folder, which is taken down when the test ends. */
function clusterIn(t: TestContext, dataDir: string): Heddle {
  const heddle: Heddle = (verb, ...args) =>
    execute(join(root, 'heddle'), [verb, '--data-dir', dataDir, ...args]);
  t.after(() => heddle('down'));
  return heddle;
}

/** A data directory on a disk of a size of its own. */
async function onDisk(t: TestContext, size: string): Promise<{ dataDir: string; heddle: Heddle }> {
  const disk = mkdtempSync(join(tmpdir(), 'heddle-disk-'));
  const dataDir = join(disk, 'data');
  const heddle = clusterIn(t, dataDir);
  t.after(async () => {
    await execute('umount', ['--lazy', disk]);
    rmSync(disk, { recursive: true, force: true });
  });
  const mounted = await execute('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'none', disk]);
  assert.equal(mounted.code, 0, mounted.stderr);
  return { dataDir, heddle };
}

function manyObjects(t: TestContext, count: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-many-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const one = (i: number) =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c${i}, namespace: default }\ndata: { k: v }\n---\n`;
  writeFileSync(join(folder, 'many.yaml'), Array.from({ length: count }, (_, i) => one(i)).join(''));
  return folder;
}

const echo = join(root, 'test/manifests/echo');

test('a disk that is full at the start: said, and nothing is left', async (t) => {
  const { dataDir, heddle } = await onDisk(t, '12k');
  const { code, stderr } = await heddle('up', '--detach', '--api-port', '0');
  assert.equal(code, 1);
  assert.match(stderr, /cannot write to the data directory.*DataDirFailed.*the disk is full/s);
  assert.doesNotMatch(stderr, / at .*\.ts:\d+/, 'no stack');
  assert.equal(existsSync(dataDir) || existsSync(clusterPaths(dataDir).runDir), false);
});

test('a disk that fills up: writes are refused, all else goes on, and writes work again', async (t) => {
  const { dataDir, heddle } = await onDisk(t, '8m');
  const must = async (...[verb, ...args]: Parameters<Heddle>) => {
    const { code, stdout, stderr } = await heddle(verb, ...args);
    assert.equal(code, 0, `${verb}: ${stderr}`);
    return stdout;
  };
  await must('up', '--detach', '--stand-in', '--api-port', '0', '-f', echo);
  const objects = manyObjects(t, 1);
  const filler = join(dataDir, 'logs', 'filler');
  await execute('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k']);
  const refused = await heddle('apply', '-f', objects);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /no room on the disk.*ApplyFailed/s);
  await must('exec', 'deploy/client', '--', 'curl', '-sS', '--max-time', '5', 'http://server/');
  const { processes } = JSON.parse(await must('status', '-o', 'json')) as Status;
  for (const { name, restarts } of processes) assert.equal(restarts, 0, name);
  rmSync(filler);
  await must('apply', '-f', objects);
});

test('Ctrl-C while manifests are applied ends it soon, and leaves nothing', async (t) => {
  const cluster = await localCluster(t);
  const child = spawn(
    join(root, 'heddle'),
    ['up', '--data-dir', cluster.dataDir, '--api-port', String(cluster.apiPort), '-f', manyObjects(t, 8000)],
    { stdio: ['ignore', 'ignore', 'pipe'], cwd: root },
  );
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  while (!text.includes('waiting for nodes:')) await sleep(20);
  await sleep(500);
  child.kill('SIGINT');
  await once(child, 'close');
  assert.equal(child.exitCode, 130, text);
  const count = Number(/applying manifests(?:: (\d+) of)?/.exec(text)?.[1] ?? 0);
  assert.ok(count < 8000, `${count} of 8,000 were applied`);
  assert.equal(existsSync(cluster.dataDir) || existsSync(cluster.paths.runDir), false);
});

test('what was acknowledged survives a kill -9 of the API server in the middle of an apply', async (t) => {
  const cluster = await upCluster(t, echo);
  const objects = manyObjects(t, 300);
  const pid = (await cluster.status()).processes.find(({ name }) => name === 'api-server')?.pid;
  assert.ok(pid);
  const child = spawn(join(root, 'heddle'), ['apply', '--data-dir', cluster.dataDir, '-f', objects], {
    stdio: ['ignore', 'pipe', 'ignore'],
    cwd: root,
  });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  while (!said.includes('created')) await sleep(5);
  process.kill(pid, 'SIGKILL');
  await once(child, 'close');
  const acknowledged = [...said.matchAll(/^(configmap\/c\d+) created$/gm)].map(([, name]) => name);
  let stored = { code: -1, stdout: '', stderr: '' };
  for (let tries = 0; tries < 300 && stored.code !== 0; tries++) {
    stored = await cluster.heddle('get', 'configmaps', '-o', 'name');
    await sleep(100);
  }
  assert.equal(stored.code, 0, stored.stderr);
  const names = new Set(stored.stdout.split('\n'));
  assert.ok(acknowledged.length > 0);
  assert.deepEqual(
    acknowledged.filter((name) => !names.has(name ?? '')),
    [],
  );
  await cluster.must('apply', '-f', objects);
});

for (const name of ['we ird "$(x)%s\'éü;&\nnl', 'deep/'.repeat(60)])
  test(`a data directory called ${JSON.stringify(name.slice(0, 30))} works as any other`, {
    skip: name.startsWith('deep/') && deepOnly('a folder with odd letters runs it'),
  }, async (t) => {
    const parent = mkdtempSync(join(tmpdir(), 'heddle-names-'));
    t.after(() => rmSync(parent, { recursive: true, force: true }));
    const dataDir = join(parent, name);
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const heddle = clusterIn(t, dataDir);
    const up = await heddle('up', '--detach', '--stand-in', '--api-port', '0', '-f', echo);
    assert.equal(up.code, 0, up.stderr);
    const { code, stderr } = await heddle('exec', 'deploy/client', '--', 'true');
    assert.equal(code, 0, stderr);
    assert.equal((await heddle('down')).code, 0);
    assert.equal(existsSync(dataDir), false);
  });
