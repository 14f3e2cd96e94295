import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { clusterPaths } from '../../cluster/paths.ts';
import { closeNetns, createNetns, deleteNetns, type Netns, openNetns } from '../../kernel/netns.ts';
import { isAlive } from '../../kernel/process.ts';
import { connectTcp } from '../../kernel/sockets.ts';
import { spawnIn } from '../../kernel/spawn.ts';
import { callSocket } from '../../lib/unix-http.ts';
import { eventually } from '../test-node.ts';
import type { StandInPod, StandInPodStatus } from './types.ts';

const entry = join(import.meta.dirname, '../../app/stand-in.ts');

let dataDir: string;
let ns: Netns;
let socketPath: string;
let supervisors: ChildProcess[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), `heddle-test-${process.pid}-stand-in-`));
  const path = join(dataDir, 'netns');
  closeNetns(createNetns(path));
  ns = openNetns(path);
  socketPath = clusterPaths(dataDir).node('node-1').standInSocket;
});

afterEach(async () => {
  for (const child of supervisors) child.kill('SIGKILL');
  supervisors = [];
  await callSocket({ socketPath, method: 'POST', path: '/stop' }).catch(() => {});
  const pid = await serverPid().catch(() => undefined);
  if (pid !== undefined) await eventually('the server ends', () => !isAlive(pid));
  closeNetns(ns);
  deleteNetns(ns.path);
  await rm(clusterPaths(dataDir).runDir, { recursive: true, force: true });
  await rm(dataDir, { recursive: true, force: true });
});

function supervise(): ChildProcess {
  const child = spawnIn({ argv: [process.execPath, entry, dataDir, 'node-1'], stdio: 'ignore' });
  supervisors.push(child);
  return child;
}

const serverPid = async (): Promise<number> =>
  (JSON.parse(await readFile(`${socketPath}.pid`, 'utf8')) as { pid: number }).pid;
const status = () => callSocket<{ pods: StandInPodStatus[] }>({ socketPath, path: '/pods' });
const up = () => eventually('the server answers', () => status().catch(() => undefined));

const pod = (): StandInPod => ({
  uid: 'u1',
  namespace: 'shop',
  name: 'web',
  node: 'node-1',
  netns: ns.path,
  addresses: [],
  tcp: [8080],
  udp: [],
  log: join(dataDir, 'web.log'),
  resolv: { nameservers: [], search: [], ndots: 5 },
});

async function connect() {
  const socket = await connectTcp(ns, { host: '127.0.0.1', port: 8080 });
  const say = (text: string) =>
    new Promise<string>((resolve, reject) => {
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('closed')));
      socket.once('data', (chunk: Buffer) => resolve(chunk.toString()));
      socket.write(text);
    });
  return { socket, say };
}

test('killing the supervisor disturbs no connection, and its successor adopts the server', async () => {
  const first = supervise();
  await up();
  await callSocket({ socketPath, method: 'PUT', path: '/pods', body: { pods: [pod()] } });
  const { socket, say } = await connect();
  assert.equal(await say('hello\n'), 'hello\n');
  const pid = await serverPid();
  first.kill('SIGKILL');
  await eventually('the supervisor is dead', () => !isAlive(first.pid!));
  assert.equal(await say('still here\n'), 'still here\n');
  supervise();
  await eventually(
    'the successor has settled',
    () => new Promise((done) => setTimeout(() => done(true), 500)),
  );
  assert.equal(await serverPid(), pid);
  assert.equal(await say('and now\n'), 'and now\n');
  socket.destroy();
});

test('a server that is killed comes back with its pods, before any agent speaks to it', async () => {
  supervise();
  await up();
  await callSocket({ socketPath, method: 'PUT', path: '/pods', body: { pods: [pod()] } });
  const pid = await serverPid();
  process.kill(pid, 'SIGKILL');
  await eventually('another server has taken over', async () => (await serverPid()) !== pid);
  await eventually('it serves the pod', () =>
    status().then(
      ({ pods }) => pods[0]?.serving,
      () => false,
    ),
  );
  const { socket, say } = await connect();
  assert.equal(await say('hello\n'), 'hello\n');
  socket.destroy();
});

test('ending the supervisor in order leaves the server to serve', async () => {
  const child = supervise();
  await up();
  child.kill('SIGTERM');
  await eventually('the supervisor ended', () => !isAlive(child.pid!));
  assert.ok(isAlive(await serverPid()));
});
