/** The processes of the control plane, as they are started and as they are killed. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD } from '../api/kinds.ts';
import { createClient } from '../client/client.ts';
import { loadKubeconfig } from '../client/kubeconfig.ts';
import type { Client } from '../client/types.ts';
import { addNodes, createFakeNodes, deploymentOf } from '../controllers/testing.ts';
import { ensurePki } from '../identity/ensure-pki.ts';

/** Listening on 127.0.0.1; 0 is any port. */
function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

interface Running {
  child: ChildProcess;
  stderr: string;
  ended: Promise<number | null>;
}

function run(t: TestContext, name: string, args: string[], fds: number[] = []): Running {
  const child = spawn(process.execPath, [join(import.meta.dirname, `${name}.ts`), ...args], {
    stdio: ['ignore', 'ignore', 'pipe', ...fds],
  });
  const running: Running = {
    child,
    stderr: '',
    ended: new Promise((resolve) => child.on('exit', (code) => resolve(code))),
  };
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (running.stderr += text));
  t.after(async () => {
    child.kill('SIGKILL');
    await running.ended;
  });
  return running;
}

/** Its socket is made here, as the supervisor makes it: loopback is no address to advertise. */
async function runApiServer(t: TestContext, dir: string, port: number): Promise<Running> {
  const socket = await listen(port);
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  const running = run(t, 'api-server', [dir, '--listen-fd', '3'], [fd]);
  socket.close();
  return running;
}

async function setUp(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-control-plane-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const any = await listen(0);
  const { port } = any.address() as AddressInfo;
  await new Promise((resolve) => any.close(resolve));
  const kubeconfig = join(dir, 'kubeconfig');
  const apiServer = { addresses: [], port, publishedPort: port };
  await ensurePki({
    dir: join(dir, 'pki'),
    clusterId: 'test',
    nodes: [],
    apiServer,
    serverNames: ['127.0.0.1'],
    people: { path: kubeconfig, port },
    now: Date.now,
  });
  const config = {
    id: 'test',
    nodes: [],
    podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'],
    serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
    underlayCidrs: ['10.240.0.0/24', 'fd00:10:240::/64'],
    dnsAddresses: ['10.96.0.10', 'fd00:10:96::a'],
    apiServer,
  };
  writeFileSync(join(dir, 'cluster.json'), JSON.stringify(config));
  const { client: options } = await loadKubeconfig(kubeconfig);
  const client = createClient(options);
  t.after(() => client.close());
  return { dir, port, client };
}

async function until(what: string, ready: () => Promise<boolean>, ms = 60_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await ready().catch(() => false))) {
    if (performance.now() > end) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const replicas = async (client: Client, wanted: number): Promise<boolean> => {
  const { items } = await client.list(POD, { namespace: 'shop' });
  const { status } = await client.get(DEPLOYMENT, 'web', 'shop');
  return items.length === wanted && status?.availableReplicas === wanted;
};

const scale = (client: Client, wanted: number) =>
  client.patch(DEPLOYMENT, 'web', 'shop', { spec: { replicas: wanted } });

test('either process can be killed and started again, and goes on where it was', async (t) => {
  const { dir, port, client } = await setUp(t);
  // The controllers come first, as they may: they wait.
  let controllers = run(t, 'controllers', [dir]);
  let apiServer = await runApiServer(t, dir, port);
  await until('api server', async () => (await client.request('GET', '/readyz')).status === 200);
  const nodes = createFakeNodes(client);
  const stop = new AbortController();
  const done = nodes.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await done;
  });
  await addNodes(client, ['node-1', 'node-2']);
  await client.create(NAMESPACE, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  const { uid: _u, generation: _g, ...metadata } = deploymentOf(2).metadata;
  await client.create(DEPLOYMENT, { ...deploymentOf(2), metadata });
  await until('2 pods', () => replicas(client, 2));

  apiServer.child.kill('SIGKILL');
  await apiServer.ended;
  apiServer = await runApiServer(t, dir, port);
  await until('scaled', async () => {
    await scale(client, 4);
    return true;
  });
  await until('4 pods', () => replicas(client, 4));

  controllers.child.kill('SIGKILL');
  await controllers.ended;
  await scale(client, 3);
  controllers = run(t, 'controllers', [dir]);
  await until('3 pods', () => replicas(client, 3));
  assert.ok(await client.get(CONFIG_MAP, 'kube-root-ca.crt', 'shop'));

  controllers.child.kill('SIGTERM');
  assert.equal(await controllers.ended, 0, controllers.stderr);
  const lines = controllers.stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { level: string });
  assert.ok(lines.every((line) => line.level !== 'error'));
});

test('controllers without a cluster say where they looked', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-control-plane-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const controllers = run(t, 'controllers', [dir]);
  assert.equal(await controllers.ended, 1);
  const line = JSON.parse(controllers.stderr.trim()) as { code: string; msg: string };
  assert.equal(line.code, 'ControllersSetup');
  assert.match(line.msg, /cluster\.json/);
});
