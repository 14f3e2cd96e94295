import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { kubectl, kubectlPath } from '../kubectl.ts';
import { deepOnly } from '../scenarios/deep-only.ts';
import { type LocalCluster, root, upCluster } from '../scenarios/local-cluster.ts';
import { type Dial, dialer } from '../scenarios/stream-client.ts';
import {
  inventory,
  kinds,
  manySessions,
  type Session,
  steady,
  type Targets,
  untilAsBefore,
  within,
} from '../scenarios/stream-sessions.ts';

const SESSIONS = 1000;
/** With a process of kubectl each. */
const KUBECTLS = 60;
const skip = deepOnly('twenty of them are in processes.test.ts');

test('a thousand sessions, ended in every way, leave nothing behind', { skip }, async (t) => {
  const { cluster, dial, targets, ask } = await lab(t);
  // Each kind with each end once: what is loaded at the first use is there, and no leak is big enough to hide behind.
  await manySessions(dial, targets, 24);
  const before = await steady(cluster);
  await manySessions(dial, targets, SESSIONS);
  const after = await untilAsBefore(cluster, before);
  t.diagnostic(`descriptors ${JSON.stringify(before.descriptors)} → ${JSON.stringify(after.descriptors)}`);
  t.diagnostic(`RSS in kB ${JSON.stringify(before.rss)} → ${JSON.stringify(after.rss)}`);
  for (const [name, kb] of Object.entries(after.rss))
    assert.ok(kb < before.rss[name]! * 1.15 + 16_384, `${name} grew from ${before.rss[name]} to ${kb} kB`);
  await noneOpen(cluster, ask);

  await kubectls(cluster, targets);
  await untilAsBefore(cluster, before);
  await noneOpen(cluster, ask);
});

test('an agent that is killed, and a pod that goes, end their sessions; the next ones work', {
  skip,
}, async (t) => {
  const { cluster, dial, targets, ask } = await lab(t);
  await manySessions(dial, targets, 24);
  const before = await untilAsBefore(cluster, await inventory(cluster));
  const begin = () => Promise.all(Object.values(kinds).map((kind) => kind(dial, targets)));
  for (let round = 0; round < 5; round++) {
    const open = (await Promise.all([begin(), begin()])).flat();
    const agent = (await cluster.status()).processes.find(({ name }) => name.startsWith('agent-'))!;
    process.kill(agent.pid, 'SIGKILL');
    await Promise.all(open.map(theEnd));
    const said = open.map(({ connection }) => connection.text()).filter((text) => text.includes('ready'));
    assert.ok(
      said.every((text) => text.includes('broke off')),
      said.join('\n'),
    );
    await again(async () => {
      await manySessions(dial, targets, 24);
    });
  }
  await untilAsBefore(cluster, before);

  const open = (await Promise.all([begin(), begin()])).flat();
  const pods = [targets.shell.pod, targets.web.pod];
  await ask('delete', 'pod', ...pods, '--wait=false');
  await Promise.all(open.map(theEnd));
  await ask('wait', '--for=delete', '--timeout=120s', ...pods.map((name) => `pod/${name}`));
  await ask('wait', '--for=condition=Available', '--timeout=120s', 'deploy/worker', 'deploy/web');
  await untilAsBefore(cluster, before);
  await noneOpen(cluster, ask);
});

/** Of what it is about; the client need not find out by itself. */
async function theEnd({ connection, leave, over }: Session): Promise<void> {
  await within('the end of a session', over === undefined ? connection.closed : connection.until(over));
  if (over === undefined) return;
  leave();
  await within('the end of the connection', connection.closed);
}

type Ask = (...args: string[]) => Promise<string>;

async function lab(
  t: TestContext,
): Promise<{ cluster: LocalCluster; dial: Dial; targets: Targets; ask: Ask }> {
  const home = mkdtempSync(join(tmpdir(), 'heddle-kubectl-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const manifests = join(root, 'test/manifests/streaming');
  const cluster = await upCluster(t, manifests, '--nodes', '1');
  const { kubeconfig } = cluster.paths;
  const ask: Ask = async (...args) => {
    const { code, stdout, stderr } = await kubectl(['-n', 'work', ...args], { kubeconfig, home });
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const nameOf = (app: string) =>
    ask('get', 'pods', '-l', `app=${app}`, '-o', 'jsonpath={.items[0].metadata.name}');
  const targets = {
    namespace: 'work',
    shell: { pod: await nameOf('worker'), container: 'main' },
    web: { pod: await nameOf('web'), port: 8080 },
  };
  return { cluster, dial: await dialer(kubeconfig), targets, ask };
}

/** The API server's own count. */
async function noneOpen(_cluster: LocalCluster, ask: Ask): Promise<void> {
  const text = await ask('get', '--raw', '/metrics');
  const open = [...text.matchAll(/^apiserver_longrunning_requests\{.*(CONNECT|log).*\} (\d+)$/gm)];
  assert.ok(open.length > 0);
  assert.deepEqual(
    open.filter((one) => one[2] !== '0').map((one) => one[0]),
    [],
  );
}

async function again(work: () => Promise<void>): Promise<void> {
  for (const end = Date.now() + 120_000; ; )
    try {
      return await work();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
}

/** Real clients: some go in order, the others are killed. */
async function kubectls(cluster: LocalCluster, { namespace, shell, web }: Targets): Promise<void> {
  const commands = [
    ['exec', '-i', shell.pod, '-c', shell.container, '--', 'sh', '-c', 'echo ready; cat'],
    ['attach', shell.pod, '-c', shell.container],
    ['port-forward', `pod/${web.pod}`, `:${web.port}`],
    ['logs', '-f', shell.pod, '-c', shell.container],
  ];
  for (let i = 0; i < KUBECTLS; i++) {
    const args = commands[i % commands.length]!;
    const webSockets = i % 8 < 4 ? 'true' : 'false';
    const child = spawn(kubectlPath(), ['-n', namespace, ...args], {
      env: {
        KUBECONFIG: cluster.paths.kubeconfig,
        HOME: tmpdir(),
        KUBECTL_PORT_FORWARD_WEBSOCKETS: webSockets,
        KUBECTL_REMOTE_COMMAND_WEBSOCKETS: webSockets,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    await within(`kubectl ${args.join(' ')}: a word`, anything(child));
    child.kill(i % 3 === 0 ? 'SIGTERM' : 'SIGKILL');
    await within('its end', new Promise((resolve) => child.once('close', resolve)));
  }
}

const anything = (child: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    child.once('close', () => reject(new Error('it ended and said nothing')));
    for (const stream of [child.stdout, child.stderr]) stream?.once('data', () => resolve());
  });
