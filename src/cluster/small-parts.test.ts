import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { silentLog } from '../lib/log.ts';
import { checkDataDir, forgetNodeState, makeDataDir, removeDataDir } from './data-dir.ts';
import { acquireLock, isHolderAlive, lockHolder } from './lock.ts';
import { rotateLog } from './log-file.ts';
import { clusterPaths } from './paths.ts';
import { createProcesses } from './processes.ts';
import { parsePublish, parsePublishes } from './publish.ts';
import { createRestartPolicy } from './restart-policy.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-cluster-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('the lock has one holder, and says who', (t) => {
  const path = join(folder(t), 'lock');
  const lock = acquireLock(path, 'supervisor');
  assert.ok(lock);
  assert.equal(acquireLock(path, 'another'), undefined);
  const holder = lockHolder(path);
  assert.equal(holder?.what, 'supervisor');
  assert.equal(holder?.pid, process.pid);
  assert.ok(holder && isHolderAlive(holder));
  assert.equal(isHolderAlive({ ...holder, startTime: 1 }), false);
  lock.release();
  assert.equal(existsSync(path), false);
  assert.equal(lockHolder(path), undefined);
  const next = acquireLock(path, 'another');
  assert.ok(next);
  next.release();
});

test('a lock file that nobody holds is nobody’s', (t) => {
  const path = join(folder(t), 'lock');
  writeFileSync(path, '{"pid":1');
  assert.equal(lockHolder(path), undefined);
  const lock = acquireLock(path, 'x');
  assert.ok(lock);
  lock.release();
});

test('one folder is one cluster, whichever way it is written', (t) => {
  const dir = folder(t);
  mkdirSync(join(dir, 'real'));
  symlinkSync('real', join(dir, 'link'));
  assert.equal(clusterPaths(join(dir, 'link')).id, clusterPaths(join(dir, 'real')).id);
  assert.equal(clusterPaths(join(dir, 'link/new')).id, clusterPaths(`${dir}/real/./new/`).id);
  assert.notEqual(clusterPaths(join(dir, 'a')).id, clusterPaths(join(dir, 'b')).id);
});

test('a data directory is closed to others, and leaves nothing', (t) => {
  const paths = clusterPaths(join(folder(t), 'data'));
  makeDataDir(paths, false);
  assert.equal(statSync(paths.dataDir).mode & 0o777, 0o700);
  writeFileSync(paths.config, '{}');
  mkdirSync(paths.node('node-1').podLogs, { recursive: true });
  writeFileSync(`${paths.store}-wal`, '');
  checkDataDir(paths);
  assert.deepEqual(removeDataDir(paths), []);
  assert.equal(existsSync(paths.dataDir), false);
  assert.deepEqual(removeDataDir(paths), []);
});

test('files of others in the data directory stay', (t) => {
  const paths = clusterPaths(join(folder(t), 'data'));
  makeDataDir(paths, false);
  writeFileSync(join(paths.dataDir, 'thesis.tex'), 'x');
  assert.deepEqual(removeDataDir(paths), ['thesis.tex']);
  assert.equal(readFileSync(join(paths.dataDir, 'thesis.tex'), 'utf8'), 'x');
});

test('a folder that is no cluster, or that others may write to, is refused', (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, 'thesis.tex'), 'x');
  assert.throws(() => checkDataDir(clusterPaths(dir)), { code: 'DataDirForeign', message: /thesis\.tex/ });
  assert.throws(() => checkDataDir(clusterPaths(join(dir, 'thesis.tex'))), { code: 'DataDirUnsafe' });
  const open = clusterPaths(join(dir, 'open'));
  makeDataDir(open, false);
  writeFileSync(open.config, '{}');
  checkDataDir(open);
  chmodSync(open.dataDir, 0o770);
  assert.throws(() => checkDataDir(open), { code: 'DataDirUnsafe', message: /written by others/ });
});

test('a data directory that cannot be is an error that names it', (t) => {
  const dir = folder(t);
  writeFileSync(join(dir, 'file'), '');
  for (const name of ['file/below', 'x'.repeat(300)]) {
    const paths = clusterPaths(join(dir, name));
    const make = () => {
      checkDataDir(paths);
      makeDataDir(paths, false);
    };
    assert.throws(make, { code: 'DataDirFailed', message: new RegExp(`data directory ${paths.dataDir}$`) });
  }
});

test('what nodes knew of pods is forgotten, their logs are not', (t) => {
  const paths = clusterPaths(folder(t));
  const node = paths.node('node-1');
  mkdirSync(node.podLogs, { recursive: true });
  writeFileSync(join(node.podLogs, 'a.log'), 'a');
  writeFileSync(join(node.state, 'ipam.json'), '{}');
  forgetNodeState(paths);
  assert.equal(existsSync(join(node.state, 'ipam.json')), false);
  assert.equal(readFileSync(join(node.podLogs, 'a.log'), 'utf8'), 'a');
});

test('a log over its size is moved aside, and goes on in the same file', (t) => {
  const path = join(folder(t), 'x.log');
  assert.equal(rotateLog(path, 3), false);
  writeFileSync(path, 'abcd');
  const { ino } = statSync(path);
  assert.equal(rotateLog(path, 3), true);
  assert.equal(statSync(path).ino, ino);
  assert.equal(statSync(path).size, 0);
  assert.equal(readFileSync(`${path}.1`, 'utf8'), 'abcd');
});

test('a log that cannot be copied aside makes room all the same', (t) => {
  const path = join(folder(t), 'x.log');
  writeFileSync(path, 'abcd');
  mkdirSync(`${path}.1`);
  assert.equal(rotateLog(path, 3), true);
  assert.equal(statSync(path).size, 0);
});

test('a process is restarted at once, then later, and is in quarantine after three exits in a minute', () => {
  const policy = createRestartPolicy();
  assert.deepEqual(policy.onExit(0), { delay: 0, quarantined: false });
  assert.deepEqual(policy.onExit(10), { delay: 500, quarantined: false });
  assert.equal(policy.onExit(1000).quarantined, true);
  assert.equal(policy.onExit(40_000).quarantined, true);
  assert.deepEqual(policy.onExit(200_000), { delay: 0, quarantined: false });
});

test('what ends is started again, until it is abandoned', async () => {
  const children: EventEmitter[] = [];
  const waits: { ms: number; go: () => void }[] = [];
  let now = 0;
  const processes = createProcesses({
    log: silentLog,
    clock: {
      now: () => now,
      monotonic: () => now,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          signal?.addEventListener('abort', () => reject(signal.reason));
          waits.push({ ms, go: resolve });
        }),
    },
  });
  processes.start({
    name: 'x',
    spawn() {
      const child = Object.assign(new EventEmitter(), { pid: 100 + children.length });
      children.push(child);
      return child as unknown as ChildProcess;
    },
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const end = async () => {
    children.at(-1)?.emit('exit', null, 'SIGKILL');
    await turn();
  };
  await end();
  waits.at(-1)?.go();
  await turn();
  now = 50;
  assert.deepEqual(processes.list(), [
    {
      name: 'x',
      state: 'running',
      pid: 101,
      uptime: 50,
      restarts: 1,
      lastExit: { code: null, signal: 'SIGKILL', at: new Date(0).toISOString() },
    },
  ]);
  await end();
  assert.equal(processes.list()[0]?.state, 'restarting');
  waits.at(-1)?.go();
  await turn();
  await end();
  assert.deepEqual([processes.list()[0]?.state, waits.at(-1)?.ms], ['quarantined', 30_000]);
  processes.abandon();
  waits.at(-1)?.go();
  await turn();
  assert.equal(children.length, 3);
});

test('a port to publish is read with its namespace and its port on the machine', () => {
  assert.deepEqual(parsePublish('web:80'), { namespace: 'default', service: 'web', port: 80, hostPort: 80 });
  assert.deepEqual(parsePublish('shop/web:80:8080'), {
    namespace: 'shop',
    service: 'web',
    port: 80,
    hostPort: 8080,
  });
});

for (const text of [
  '',
  'web',
  'web:',
  'web:0',
  'web:65536',
  'Web:80',
  'a/b/c:80',
  'web:80:0',
  'web:80:8080:1',
  'web:-1',
])
  test(`"${text}" is not a port to publish`, () =>
    assert.throws(() => parsePublish(text), { code: 'BadFlag' }));

test('no text to publish crashes the parser', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        const { port, hostPort } = parsePublish(text);
        assert.ok(port > 0 && hostPort > 0);
      } catch (error) {
        assert.equal((error as Error).name, 'HeddleError');
      }
    }),
  );
});

test('two services cannot have one port of the machine, nor the API server’s', () => {
  assert.throws(() => parsePublishes(['a:80', 'b:80'], 6443), { message: /default\/b and by default\/a/ });
  assert.throws(() => parsePublishes(['a:6443'], 6443), { message: /--api-port/ });
  assert.equal(parsePublishes(['a:80', 'b:80:81'], 6443).length, 2);
});
