import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import { deepOnly } from '../../../test/scenarios/deep-only.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createMetrics } from '../../lib/metrics.ts';
import { execOverSocket, type TerminalSize } from '../exec-protocol.ts';
import { FORWARD_PATH, forwardOverSocket } from '../forward-protocol.ts';
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
  const { upgrades } = podHostRoutes({ host: node.host, node: 'node-1', metrics: createMetrics() });
  http.on('upgrade', (req, socket, head) => {
    const path = req.url === FORWARD_PATH ? FORWARD_PATH : '/exec';
    return upgrades[`POST ${path}`]!(req, socket, head, new URL(path, 'http://localhost'));
  });
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

test('who follows a log hears every line of it, over each turn, and may begin at a time', {
  skip,
}, async () => {
  await ready(
    'followed',
    {
      command: [
        'sh',
        '-c',
        'echo first; until test -e /data/go; do sleep 0.1; done; yes 0123456789abcdef | head -n 400000; sleep 3; echo last',
      ],
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
    },
    { volumes: [{ name: 'data', emptyDir: {} }] },
  );
  const followed = log('/followed?follow=true');
  await eventually('its first line', async () => (await log('/followed')) === 'first\n');
  const second = new Date(Date.now() + 1).toISOString();
  const later = log(`/followed?follow=true&sinceTime=${second}`);
  assert.equal(await talk('followed', { argv: ['touch', '/data/go'], input: false }).done, 0);
  const lines = (await followed).trimEnd().split('\n');
  assert.deepEqual([lines[0], lines.length, lines.at(-1)], ['first', 400_002, 'last']);
  assert.deepEqual((await later).trimEnd().split('\n'), lines.slice(1));
  assert.equal(await log(`/followed?sinceTime=${new Date(Date.now() + 60_000).toISOString()}`), '');
});

test('ports of a pod are forwarded, those of its loopback too; one that nobody has is refused', {
  skip,
}, async () => {
  await ready('inner', { command: ['httpd', '-f', '-p', '127.0.0.1:8088', '-h', '/etc'] });
  const socket = await eventually('its port', () =>
    forwardOverSocket(base, { namespace: 'shop', pod: 'inner', port: 8088 }).catch(() => undefined),
  );
  socket.end('GET /hostname HTTP/1.0\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  assert.equal(text.split('\r\n\r\n')[1], 'inner\n');
  await assert.rejects(
    forwardOverSocket(base, { namespace: 'shop', pod: 'inner', port: 8089 }),
    /ECONNREFUSED|refused/,
  );
});

test('a profile of system calls holds for the program and for who enters it, and none from elsewhere is read', {
  skip,
}, async () => {
  const folder = join(node.folder, 'seccomp');
  mkdirSync(folder, { recursive: true });
  const strict = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }],
  };
  writeFileSync(join(folder, 'strict.json'), JSON.stringify(strict));
  writeFileSync(join(node.folder, 'outside.json'), JSON.stringify(strict));
  const command = ['sh', '-c', 'busybox mkdir /tried; exec sleep 1000'];
  const profile = (localhostProfile: string) => ({
    command,
    securityContext: { seccompProfile: { type: 'Localhost' as const, localhostProfile } },
  });
  await ready('strict', profile('strict.json'));
  await eventually('its answer', async () => /No space left on device/.test(await log('/strict')));
  const entered = talk('strict', { argv: ['busybox', 'mkdir', '/tried'], input: false });
  assert.notEqual(await entered.done, 0);
  assert.match(entered.heard(), /No space left on device/);
  const pod = criPod('escaping', profile('../outside.json'));
  node.pods.set(pod.metadata.uid!, pod);
  node.changed();
  const waiting = await eventually(
    'its refusal',
    () => node.pods.get('uid-escaping')?.status?.containerStatuses?.[0]?.state?.waiting?.message,
  );
  assert.match(waiting, /cannot load seccomp profile .*must be a path below the folder of profiles/);
});

test('a pod that fills a volume beyond its limit is evicted', { skip }, async () => {
  const pod = criPod(
    'filling',
    {
      command: ['sh', '-c', 'busybox head -c 3000000 /dev/zero > /data/much; exec sleep 1000'],
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
    },
    { terminationGracePeriodSeconds: 0, volumes: [{ name: 'data', emptyDir: { sizeLimit: '1Mi' } }] },
  );
  node.pods.set(pod.metadata.uid!, pod);
  node.changed();
  const status = await eventually('its end', () => {
    const now = node.pods.get('uid-filling')?.status;
    return now?.phase === 'Failed' ? now : undefined;
  });
  assert.equal(status.reason, 'Evicted');
  assert.match(status.message ?? '', /Usage of EmptyDir volume "data" exceeds the limit "1Mi"/);
});
