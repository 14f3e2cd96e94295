/** The API server as the supervisor runs it: a process with a data directory and inherited descriptors. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestAuthority, type KeyPair } from '../apiserver/testing/certificates.ts';
import { freePort } from '../cluster/ports.ts';
import { listenTcp } from '../kernel/sockets.ts';

const PROGRAM = join(import.meta.dirname, 'api-server.ts');

interface Cluster {
  readonly dir: string;
  readonly ca: string;
  readonly admin: KeyPair;
  readonly port: number;
}

async function createCluster(t: TestContext): Promise<Cluster> {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-api-process-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const authority = await createTestAuthority();
  const keys = await authority.server();
  const port = freePort();
  mkdirSync(join(dir, 'pki'));
  const files = {
    'ca.crt': authority.ca,
    'apiserver.crt': keys.cert,
    'apiserver.key': keys.key,
    'service-accounts.key': keys.key,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, 'pki', name), text);
  const config = {
    clusterDomain: 'cluster.local',
    serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
    dnsAddresses: ['10.96.0.10', 'fd00:10:96::a'],
    apiServer: { addresses: ['127.0.0.1'], port, publishedPort: 0 },
  };
  writeFileSync(join(dir, 'cluster.json'), JSON.stringify(config));
  return { dir, port, ca: authority.ca, admin: await authority.client('admin', ['system:masters']) };
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** Lines of the log so far. */
  readonly lines: string[];
}

/** Resolves when the server says that it is ready, or has ended. */
async function run(t: TestContext, args: string[], fd?: number): Promise<Running> {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', ...(fd === undefined ? [] : [fd])],
  });
  t.after(() => child.kill('SIGKILL'));
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const lines: string[] = [];
  await new Promise<void>((resolve) => {
    void ended.then(() => resolve());
    createInterface({ input: child.stderr! }).on('line', (line) => {
      lines.push(line);
      if (line.includes('the API server is ready')) resolve();
    });
  });
  return { child, ended, lines };
}

function ask(cluster: Cluster, method: string, path: string, body?: object, port = cluster.port) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const text = body ? JSON.stringify(body) : '';
    const sent = request(
      {
        method,
        path,
        host: '127.0.0.1',
        port,
        ca: cluster.ca,
        ...cluster.admin,
        agent: false,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
      (response) => {
        let got = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (got += chunk));
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text: got }));
      },
    );
    sent.on('error', reject);
    sent.end(text);
  });
}

const PATH = '/api/v1/namespaces/default/configmaps';

test('it serves its address and an inherited descriptor, and ends cleanly when asked', async (t) => {
  const cluster = await createCluster(t);
  const published = freePort();
  const descriptor = listenTcp(undefined, '127.0.0.1', published);
  t.after(() => closeSync(descriptor));
  const { child, ended } = await run(t, [cluster.dir, '--listen-fd', '3'], descriptor);
  for (const port of [cluster.port, published])
    assert.equal((await ask(cluster, 'GET', '/readyz', undefined, port)).status, 200);
  child.kill('SIGTERM');
  assert.equal(await ended, 0);
});

test('killed at a random moment under writes, it loses nothing that it acknowledged', async (t) => {
  const cluster = await createCluster(t);
  const acknowledged: string[] = [];
  for (let round = 0; round < 2; round++) {
    const { child, ended } = await run(t, [cluster.dir]);
    let going = true;
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let i = 0; going; i++) {
        const name = `w-${round}-${writer}-${i}`;
        const { status } = await ask(cluster, 'POST', PATH, { metadata: { name } }).catch(() => ({
          status: 0,
        }));
        if (status === 201) acknowledged.push(name);
        else going = false;
      }
    });
    const before = acknowledged.length;
    for (let ms = 0; ms < 60_000 && acknowledged.length === before; ms += 5) await sleep(5);
    await sleep(Math.random() * 300);
    child.kill('SIGKILL');
    await ended;
    await Promise.all(writers);
  }
  await run(t, [cluster.dir]);
  const { items } = JSON.parse((await ask(cluster, 'GET', PATH)).text) as {
    items: { metadata: { name: string } }[];
  };
  const kept = new Set(items.map(({ metadata }) => metadata.name));
  assert.ok(acknowledged.length > 0);
  assert.deepEqual(
    acknowledged.filter((name) => !kept.has(name)),
    [],
  );
});

test('what keeps it from starting is said, with what to do', async (t) => {
  const cluster = await createCluster(t);
  const fails = async (args: string[], code: string) => {
    const { ended, lines } = await run(t, args);
    assert.equal(await ended, 1, lines.join('\n'));
    const last = JSON.parse(lines.at(-1) ?? '{}') as { code?: string; hint?: string };
    assert.equal(last.code, code);
    assert.ok(last.hint);
  };
  await fails([join(cluster.dir, 'missing')], 'ApiSetup');
  await run(t, [cluster.dir]);
  await fails([cluster.dir], 'StoreBusy');
  const other = await createCluster(t);
  writeFileSync(
    join(other.dir, 'cluster.json'),
    JSON.stringify({
      serviceCidrs: ['10.96.0.0/16'],
      dnsAddresses: [],
      apiServer: { addresses: ['127.0.0.1'], port: cluster.port, publishedPort: 0 },
    }),
  );
  await fails([other.dir], 'ApiListen');
});
