import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { deepOnly } from '../../../test/scenarios/deep-only.ts';
import type { Pod } from '../../api/types.ts';
import { connectTcp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { execOverSocket } from '../exec-protocol.ts';
import { podHostRoutes } from '../http.ts';
import { createMetrics } from '../../lib/metrics.ts';
import { createTestNode, eventually, isReady, type TestNode } from '../test-node.ts';
import type { SavedSandbox } from './sandbox-file.ts';
import { createContainerd, criPod, type TestContainerd } from './testing.ts';

const skip = deepOnly('pods of images run by runc hold what runtimes share') || needsRoot;
let node: TestNode;
let containerd: TestContainerd;
let http: Server;

before(async () => {
  if (skip) return;
  node = await createTestNode();
  containerd = await createContainerd(node.folder, join(node.folder, 'cri'));
  await node.startHost();
  http = createServer();
  http.on('upgrade', (req, socket, head) =>
    podHostRoutes({ host: node.host, node: 'node-1', metrics: createMetrics() }).upgrades['POST /exec']!(
      req,
      socket,
      head,
      new URL('http://localhost/exec'),
    ),
  );
  await new Promise<void>((resolve) => void http.listen(join(node.folder, 'exec.sock'), resolve));
});
after(async () => {
  if (skip) return;
  http.close();
  await remove(...[...node.pods.values()].map(({ metadata }) => metadata.name)).catch(() => {});
  await containerd.close();
  await node.close();
});

const now = (name: string): Pod | undefined => node.pods.get(`uid-${name}`);
const statusOf = (name: string) => now(name)?.status?.containerStatuses?.[0];

function add(...pods: Pod[]): void {
  for (const pod of pods) node.pods.set(pod.metadata.uid!, pod);
  node.changed();
}

async function remove(...names: string[]): Promise<void> {
  for (const name of names) node.pods.delete(`uid-${name}`);
  node.changed();
  await eventually('the pods to go', () => names.every((name) => !node.host.find('shop', name)));
}

async function fetchName(address: string): Promise<string> {
  const socket = await connectTcp(node.ns, { host: address, port: 80, timeoutMs: 60_000 });
  socket.end('GET /hostname HTTP/1.0\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text.split('\r\n\r\n')[1] ?? '';
}

async function exec(pod: string, argv: string[], tty = false): Promise<{ code: number; text: string }> {
  const { PassThrough } = await import('node:stream');
  const out = new PassThrough();
  let text = '';
  out.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await execOverSocket(join(node.folder, 'exec.sock'), {
    namespace: 'shop',
    pod,
    argv,
    stdout: out,
    stderr: out,
    ...(tty ? { terminal: { onResize: () => {} } } : {}),
  });
  return { code, text };
}

const logOf = (name: string, attempt: number): string =>
  readFileSync(join(node.folder, 'logs', `shop_${name}_uid-${name}`, 'main', `${attempt}.log`), 'utf8');

/** Below every hierarchy of cgroups. */
const cgroupsOf = (uid: string): string[] =>
  readdirSync('/sys/fs/cgroup')
    .map((name) => join('/sys/fs/cgroup', name, basename(node.folder), uid))
    .filter((path) => existsSync(path));

const web = (name: string): Pod =>
  criPod(
    name,
    {
      command: ['sh', '-c', 'echo hello $GREETED; exec httpd -f -p 80 -h /etc'],
      env: [{ name: 'GREETED', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
      readinessProbe: { exec: { command: ['cat', '/data/ready'] }, periodSeconds: 1 },
      lifecycle: { postStart: { exec: { command: ['touch', '/data/ready'] } } },
      resources: { limits: { memory: '64Mi', cpu: '500m' } },
    },
    {
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 1,
      volumes: [{ name: 'data', emptyDir: {} }],
      initContainers: [
        {
          name: 'first',
          image: 'localhost/busybox:1',
          imagePullPolicy: 'Never',
          command: ['touch', '/data/first'],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        },
      ],
    },
  );

test('pods of a container runtime wait for it, and start when it is there', { skip }, async () => {
  add(web('web'));
  const waiting = await eventually('the reason', () => statusOf('web')?.state?.waiting?.message);
  assert.match(waiting, /no container runtime answers at unix:.*containerd\.sock: ENOENT/);
  assert.ok(node.events.some(({ reason }) => reason === 'FailedCreatePodSandBox'));
  await containerd.start();
  await eventually('the pod to be Ready', () => isReady(now('web')));
});

test('it has what its pod asks for, answers, is logged and entered', { skip }, async () => {
  const { podIPs, initContainerStatuses } = now('web')!.status!;
  assert.equal(initContainerStatuses?.[0]?.state?.terminated?.reason, 'Completed');
  assert.match(statusOf('web')!.imageID, /^sha256:[0-9a-f]{64}$/);
  for (const { ip } of podIPs!) assert.equal(await fetchName(ip), 'web\n');
  assert.match(logOf('web', 0), new RegExp(`^20\\S+ stdout F hello ${podIPs![0]!.ip}\n`));
  assert.deepEqual(await exec('web', ['sh', '-c', 'ls /data; exit 3']), { code: 3, text: 'first\nready\n' });
  assert.match((await exec('web', ['sh', '-c', 'test -t 0 && echo a terminal'], true)).text, /a terminal/);
  const memory = join('/sys/fs/cgroup/memory', basename(node.folder), 'uid-web');
  if (existsSync(memory)) {
    const limits = readdirSync(memory, { withFileTypes: true })
      .filter((one) => one.isDirectory())
      .map((one) => readFileSync(join(memory, one.name, 'memory.limit_in_bytes'), 'utf8').trim());
    assert.ok(limits.includes(String(64 << 20)), limits.join());
  }
});

test('what an agent or the runtime left runs on, and is found again', { skip }, async () => {
  const started = statusOf('web')!.state!.running!.startedAt;
  await node.stopHost();
  await node.startHost();
  await eventually(
    'the pod to be found',
    () => node.host.status().adopted === 1 && node.host.status().ready === 1,
  );
  await containerd.kill();
  assert.equal(await fetchName(now('web')!.status!.podIP!), 'web\n');
  await containerd.start();
  assert.equal((await exec('web', ['cat', '/data/ready'])).code, 0);
  assert.equal(statusOf('web')!.state!.running!.startedAt, started);
  assert.equal(statusOf('web')!.restartCount, 0);
});

test('a sandbox that dies alone is remade, and the pod with it', { skip }, async () => {
  const saved = join(node.folder, 'state/pods/uid-web/sandbox.json');
  const sandboxOf = () => (JSON.parse(readFileSync(saved, 'utf8')) as SavedSandbox).id!;
  const before = sandboxOf();
  add(criPod('never', { command: ['sleep', '1000'] }, { terminationGracePeriodSeconds: 0 }));
  await eventually('the other pod to be Ready', () => isReady(now('never')));
  const other = join(node.folder, 'state/pods/uid-never/sandbox.json');
  for (const id of [before, (JSON.parse(readFileSync(other, 'utf8')) as SavedSandbox).id!])
    await containerd.ctr('tasks', 'kill', '--signal', 'SIGKILL', id);
  await eventually('another start', () => statusOf('web')?.restartCount === 1 && isReady(now('web')));
  assert.notEqual(sandboxOf(), before);
  assert.ok(node.events.some(({ pod, reason }) => pod === 'web' && reason === 'SandboxChanged'));
  for (const { ip } of now('web')!.status!.podIPs!) assert.equal(await fetchName(ip), 'web\n');
  for (const attempt of [0, 1]) assert.match(logOf('web', attempt), /hello/);
  assert.ok(!(await containerd.ctr('containers', 'list', '--quiet')).includes(before));
  const end = await eventually('the end of the other', () => statusOf('never')?.state?.terminated);
  assert.deepEqual([end.exitCode, now('never')!.status!.phase], [137, 'Failed']);
  await remove('never');
});

test('a program that ends is told of, and started again as its policy says', { skip }, async () => {
  add(
    criPod('once', { command: ['sh', '-c', 'echo last words > /dev/termination-log; exit 7'] }),
    criPod('again', { command: ['sh', '-c', 'exit 1'] }, { restartPolicy: 'Always' }),
    criPod('nothing', { command: ['/no/such/program'] }),
    criPod('missing', { image: 'localhost/none:1' }),
  );
  const end = await eventually('its end', () => statusOf('once')?.state?.terminated);
  assert.deepEqual([end.exitCode, end.reason, end.message], [7, 'Error', 'last words\n']);
  assert.equal(now('once')?.status?.phase, 'Failed');
  await eventually('its second start', () => (statusOf('again')?.restartCount ?? 0) > 0);
  await eventually('its back-off', () => statusOf('again')?.state?.waiting?.reason === 'CrashLoopBackOff');
  const never = await eventually('its failure', () => statusOf('nothing')?.state?.terminated);
  assert.deepEqual([never.exitCode, never.reason], [128, 'StartError']);
  assert.match(never.message ?? '', /no such file/);
  await eventually('the reason', () => statusOf('missing')?.state?.waiting?.reason === 'ErrImageNeverPull');
});

test('a pod that goes leaves nothing, also when the runtime was away meanwhile', { skip }, async () => {
  await containerd.kill();
  for (const name of ['once', 'again', 'nothing', 'missing']) node.pods.delete(`uid-${name}`);
  node.changed();
  await eventually('the agent to try', () => node.host.status().failing.length > 0);
  await containerd.start();
  await remove('web', 'once', 'again', 'nothing', 'missing');
  assert.equal((await containerd.ctr('containers', 'list', '--quiet')).trim(), '');
  assert.deepEqual(node.ipam.list(), []);
  for (const name of ['web', 'once']) assert.deepEqual(cgroupsOf(`uid-${name}`), []);
  assert.deepEqual(readdirSync(join(node.folder, 'cri')), []);
  assert.deepEqual(readdirSync(join(node.folder, 'logs')), []);
});
