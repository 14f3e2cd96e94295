import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import { deepOnly } from '../../../test/scenarios/deep-only.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createMetrics } from '../../lib/metrics.ts';
import { execOverSocket, type TerminalSize } from '../exec-protocol.ts';
import { podHostRoutes } from '../http.ts';
import { sendLog } from '../send-log.ts';
import { createTestNode, eventually, isReady, type TestNode } from '../test-node.ts';
import { createContainerd, criPod, type TestContainerd } from './testing.ts';

const skip = deepOnly('pods of images run by runc hold what runtimes share') || needsRoot;
let node: TestNode;
let containerd: TestContainerd;
let http: Server;
let base = '';

before(async () => {
  if (skip) return;
  node = await createTestNode();
  containerd = await createContainerd(node.folder, join(node.folder, 'cri'));
  await containerd.start();
  await node.startHost();
  http = createServer((req, res) => {
    const { searchParams, pathname } = new URL(req.url ?? '', 'http://localhost');
    const worker = node.host.find('shop', pathname.slice(1));
    void sendLog(worker!, req, res, searchParams).catch((error: Error) => {
      res.writeHead(400);
      res.end(error.message);
    });
  });
  http.on('upgrade', (req, socket, head) =>
    podHostRoutes({ host: node.host, node: 'node-1', metrics: createMetrics() }).upgrades['POST /exec']!(
      req,
      socket,
      head,
      new URL('http://localhost/exec'),
    ),
  );
  base = join(node.folder, 'exec.sock');
  await new Promise<void>((resolve) => void http.listen(base, resolve));
});
after(async () => {
  if (skip) return;
  http.closeAllConnections();
  http.close();
  node.pods.clear();
  node.changed();
  await eventually('the pods to go', () => node.host.status().pods === 0).catch(() => {});
  await containerd.close();
  await node.close();
});

async function ready(
  name: string,
  container: Parameters<typeof criPod>[1],
  spec: Parameters<typeof criPod>[2] = {},
) {
  const pod = criPod(name, container, { terminationGracePeriodSeconds: 0, ...spec });
  node.pods.set(pod.metadata.uid!, pod);
  node.changed();
  await eventually(`${name} to be Ready`, () => isReady(node.pods.get(pod.metadata.uid!)));
}

interface Talk {
  heard(): string;
  stdin: PassThrough;
  resize(size: TerminalSize): void;
  done: Promise<number>;
}

/** Without a command: attached to what runs. */
function talk(pod: string, options: { argv?: string[]; tty?: boolean; input?: boolean } = {}): Talk {
  const out = new PassThrough();
  const stdin = new PassThrough();
  let text = '';
  let tell: (size: TerminalSize) => void = () => {};
  out.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const done = execOverSocket(base, {
    namespace: 'shop',
    pod,
    stdout: out,
    stderr: out,
    ...(options.argv ? { argv: options.argv } : {}),
    ...(options.input === false ? {} : { stdin }),
    ...(options.tty ? { terminal: { onResize: (listener) => (tell = listener) } } : {}),
  });
  done.catch(() => {});
  return { heard: () => text, stdin, resize: (size) => tell(size), done };
}

const log = async (path: string): Promise<string> => {
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    const req = request({ socketPath: base, path }, (res) => {
      let text = '';
      res.on('data', (chunk: Buffer) => (text += chunk.toString()));
      res.on('end', () => resolve(text));
    });
    req.on('error', reject);
    req.end();
  });
};

test('who attaches gives a program its input and hears both of its outputs, to its end', {
  skip,
}, async () => {
  await ready('reader', {
    command: ['sh', '-c', 'while read -r line; do echo "out $line"; echo "err $line" >&2; done; echo over'],
    stdin: true,
    stdinOnce: true,
  });
  const one = talk('reader');
  one.stdin.write('first\n');
  await eventually('the answer', () => /out first/.test(one.heard()) && /err first/.test(one.heard()));
  const looking = talk('reader', { input: false });
  await eventually('who looks on to hear it', () => {
    one.stdin.write('again\n');
    return /out again/.test(looking.heard());
  });
  one.stdin.end();
  assert.equal(await one.done, 0);
  assert.match(one.heard(), /over/);
  assert.equal(await looking.done, 0);
  assert.match(await log('/reader?timestamps=true&tail=1'), /^20\S+Z over\n$/);
});

test('a container with a terminal has one, of the size of who is attached; exec has one of its own', {
  skip,
}, async () => {
  await ready('shell', { command: ['sh'], stdin: true, tty: true });
  const one = talk('shell', { tty: true });
  await eventually('the size', () => {
    one.resize({ columns: 101, rows: 37 });
    one.stdin.write('busybox stty size\n');
    return /37 101/.test(one.heard());
  });
  const two = talk('shell', { tty: true, argv: ['sh'] });
  await eventually('its own size', () => {
    two.resize({ columns: 55, rows: 22 });
    two.stdin.write('busybox stty size\n');
    return /22 55/.test(two.heard());
  });
  two.stdin.write('exit 4\n');
  assert.equal(await two.done, 4);
  one.stdin.write('exit\n');
  assert.equal(await one.done, 0);
});

test('a runtime that dies breaks attached streams off by name, and logs that are followed go on', {
  skip,
}, async () => {
  await ready('ticking', {
    command: ['sh', '-c', 'i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done'],
  });
  const attached = talk('ticking', { input: false });
  await eventually('a tick', () => /tick/.test(attached.heard()));
  await containerd.kill();
  await assert.rejects(attached.done, /the connection to the container runtime broke off/);
  await assert.rejects(talk('ticking', { input: false }).done, /no container runtime answers/);
  await containerd.start();
  const before = /tick (\d+)\n$/.exec(await log('/ticking'))?.[1] ?? '0';
  await eventually(
    'more of its log',
    async () => !(await log('/ticking?tail=1')).includes(`tick ${before}\n`),
  );
  const again = talk('ticking', { input: false });
  await eventually('a tick to who attaches again', () => /tick/.test(again.heard()));
  again.stdin.end();
  assert.equal(node.pods.get('uid-ticking')?.status?.containerStatuses?.[0]?.restartCount, 0);
});

test('a long log is turned and read whole, and the run before is kept', { skip }, async () => {
  await ready(
    'talker',
    {
      command: [
        'sh',
        '-c',
        'if test -e /data/again; then exec sleep 1000; fi; touch /data/again; yes 0123456789abcdef | head -n 700000; sleep 5; echo last; exit 1',
      ],
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
    },
    { restartPolicy: 'Always', volumes: [{ name: 'data', emptyDir: {} }] },
  );
  const status = () => node.pods.get('uid-talker')?.status?.containerStatuses?.[0];
  await eventually('its second run', () => status()?.restartCount === 1 && status()?.state?.running);
  assert.equal(await log('/talker?previous=true&tail=1'), 'last\n');
  const lines = (await log('/talker?previous=true')).split('\n').length - 1;
  assert.equal(lines, 700_001);
});
