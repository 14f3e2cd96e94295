import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { findLeft, forgetLeft, leftText, noteLeft, removeLeft, sweepLeft } from './cri-left.ts';
import { removeCriPods } from './cri-pods.ts';
import { clusterPaths } from './paths.ts';

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-left-`));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('a note is kept for each cluster and runtime, until the runtime has done its part', async (t) => {
  const notes = join(folderOf(t), 'notes');
  const away = { endpoint: `unix://${notes}/none.sock`, at: 1, why: 'nobody there' };
  await noteLeft({ cluster: 'aaaaaaaa', ...away }, notes);
  await noteLeft({ cluster: 'aaaaaaaa', ...away, endpoint: 'unix:///other/none.sock' }, notes);
  await noteLeft({ cluster: 'bbbbbbbb', ...away, why: 'still not' }, notes);
  for (const [name, text] of Object.entries({
    'half.json': '{"cluster":',
    'empty.json': '{"cluster":""}',
    'named-so.json': JSON.stringify({ cluster: 'cccccccc', ...away }),
  }))
    writeFileSync(join(notes, name), text);
  assert.deepEqual(await sweepLeft(notes), []);
  assert.deepEqual(
    findLeft(notes).map(({ cluster }) => cluster),
    ['aaaaaaaa', 'aaaaaaaa', 'bbbbbbbb'],
  );
  assert.match(
    leftText(findLeft(notes)[2]!),
    /heddle\.dev\/cluster=bbbbbbbb may be left in unix:.*: still not/,
  );
  for (const one of findLeft(notes)) forgetLeft(one, notes);
  assert.deepEqual(findLeft(notes), []);
});

test('a runtime that takes connections and never answers is given up in time', async (t) => {
  const path = join(folderOf(t), 'hung.sock');
  const open: Socket[] = [];
  const server = createServer((socket) => void open.push(socket.on('error', () => {}).resume()));
  await new Promise<void>((resolve) => void server.listen(path, resolve));
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const left = { cluster: 'aaaaaaaa', endpoint: `unix://${path}`, at: Date.now() };
  assert.equal(await removeLeft(left, 50), 'it gave no answer within 0.05 s');
});

test('a cluster without pods in a runtime asks none and notes nothing; one with some notes it', async (t) => {
  const folder = folderOf(t);
  const notes = join(folder, 'notes');
  const paths = { ...clusterPaths(join(folder, 'data')), cgroup: `heddle-test-${process.pid}-none` };
  mkdirSync(paths.dataDir);
  writeFileSync(paths.config, '{}');
  const endpoint = `unix://${folder}/none.sock`;
  assert.equal(await removeCriPods(paths, endpoint, notes), undefined);
  assert.deepEqual(findLeft(notes), []);
  const pod = join(paths.node('node-1').state, 'pods/some-uid');
  mkdirSync(pod, { recursive: true });
  writeFileSync(join(pod, 'sandbox.json'), '{}');
  assert.match((await removeCriPods(paths, endpoint, notes)) ?? '', /no container runtime answers/);
  const [left] = findLeft(notes);
  assert.deepEqual([left?.cluster, left?.endpoint], [paths.id, endpoint]);
  assert.equal(readdirSync(notes).length, 1);
});
