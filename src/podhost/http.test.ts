import assert from 'node:assert/strict';
import { appendFile, rename } from 'node:fs/promises';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { request } from 'node:http';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, beforeEach, test } from 'node:test';
import { isAlive } from '../kernel/process.ts';
import { silentLog } from '../lib/log.ts';
import { serveSocket } from '../lib/socket-server.ts';
import { callSocket } from '../lib/unix-http.ts';
import { execOverSocket } from './exec-protocol.ts';
import { forwardOverSocket } from './forward-protocol.ts';
import { createMetrics } from '../lib/metrics.ts';
import { podHostRoutes } from './http.ts';
import type { ProbeResult } from './probe/connect.ts';
import { createTestNode, eventually, isReady, type TestNode, testPod } from './test-node.ts';

let node: TestNode;
let server: Server;
let socketPath: string;
beforeEach(async () => {
  node = await createTestNode();
  node.startStandIn();
  await node.startHost();
  const pod = testPod('web');
  node.pods.set(pod.metadata.uid!, pod);
  node.changed();
  await eventually('web is Ready', () => isReady(node.pods.get('uid-web')));
  socketPath = join(node.folder, 'agent.sock');
  server = await serveSocket({
    socketPath,
    ...podHostRoutes({ host: node.host, node: 'node-1', metrics: createMetrics() }),
    log: silentLog,
  });
});
afterEach(async () => {
  server.close();
  server.closeAllConnections();
  await node.close();
});

async function exec(argv: string[], stdin?: Readable, signal?: AbortSignal) {
  const text = { stdout: '', stderr: '' };
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  stdout.on('data', (chunk: Buffer) => (text.stdout += chunk.toString()));
  stderr.on('data', (chunk: Buffer) => (text.stderr += chunk.toString()));
  const code = await execOverSocket(socketPath, {
    namespace: 'shop',
    pod: 'web',
    argv,
    stdin,
    stdout,
    stderr,
    signal,
  });
  return { code, ...text };
}

test('a command runs in the pod: its network, its name, its names, its user', async () => {
  const { code, stdout, stderr } = await exec([
    'sh',
    '-c',
    'hostname; cat /etc/resolv.conf; id -u; cat /proc/net/fib_trie | grep -o "10\\.9\\.1\\.[0-9]*" | sort -u; echo oops >&2; exit 7',
  ]);
  assert.equal(code, 7, stderr);
  assert.equal(stderr, 'oops\n');
  assert.match(
    stdout,
    /^web\nnameserver 10\.96\.0\.10\nsearch shop\.svc\.cluster\.local svc\.cluster\.local cluster\.local\noptions ndots:5\n/,
  );
  assert.ok(stdout.includes(node.pods.get('uid-web')!.status!.podIP!));
  assert.ok(Number(/^(\d{8,})$/m.exec(stdout)![1]) > 1_000_000_000, 'a user id of its own');
});

test('a command cannot see nor change the machine', async () => {
  const { stdout } = await exec([
    'sh',
    '-c',
    `ls /; ls /etc; ls /proc | grep -c '^[0-9]'; touch /usr/x /etc/x 2>/dev/null && echo WROTE; cat /etc/shadow 2>/dev/null && echo SHADOW
     grep -E 'CapEff|CapBnd|CapPrm|NoNewPrivs' /proc/self/status; touch /tmp/x && echo tmp; cat ${node.folder}/ipam.json && echo ESCAPED`,
  ]);
  assert.doesNotMatch(stdout, /WROTE|SHADOW|ESCAPED|^var$\n^work$/m);
  assert.match(stdout, /^tmp$/m);
  assert.match(stdout, /NoNewPrivs:\s+1/);
  for (const kind of ['CapEff', 'CapPrm', 'CapBnd']) assert.match(stdout, new RegExp(`${kind}:\\s+0{16}`));
});

test('a command has a terminal of its own: its size, its signals, its end of input', async () => {
  const text: string[] = [];
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  let resize: ((size: { columns: number; rows: number }) => void) | undefined;
  stdout.on('data', (chunk: Buffer) => text.push(chunk.toString()));
  const said = (words: string) => eventually(words, () => text.join('').includes(words));
  const running = execOverSocket(socketPath, {
    namespace: 'shop',
    pod: 'web',
    argv: [
      'sh',
      '-c',
      'tty; stty -echo; trap "stty size" WINCH; trap : INT; echo ready; sleep 1000; echo "$TERM"; cat; exit 5',
    ],
    stdin,
    stdout,
    stderr: new PassThrough(),
    terminal: { onResize: (listener) => (resize = listener) },
  });
  await said('ready');
  assert.match(text.join(''), /^\/dev\/pts\/\d+\r\n/);
  resize!({ columns: 133, rows: 44 });
  // The shell hears of it when its child has ended: by Ctrl-C.
  stdin.write('\x03');
  await said('44 133');
  stdin.write('words\n');
  await said('words');
  stdin.end();
  assert.equal(await running, 5);
  assert.match(text.join(''), /xterm/);
});

test('standard input arrives whole, however large', async () => {
  const size = 3_000_000;
  const { code, stdout } = await exec(['wc', '-c'], Readable.from([Buffer.alloc(size, 65)]));
  assert.equal(code, 0);
  assert.equal(Number(stdout), size);
});

test('standard output arrives whole at a slow reader', async () => {
  const { stdout } = await exec(['sh', '-c', 'head -c 2000000 /dev/zero | tr "\\0" x']);
  assert.equal(stdout.length, 2_000_000);
});

test('a command ends when its caller goes away', async () => {
  const stop = new AbortController();
  const marker = `sleep 31${process.pid}`;
  const running = exec(['sh', '-c', marker], undefined, stop.signal);
  const pid = await eventually('it runs', () => findProcess(marker));
  stop.abort(new Error('enough'));
  await assert.rejects(running, /enough/);
  await eventually('it is gone', () => !isAlive(pid));
});

test('a command, and whoever follows the log, end with the pod', async () => {
  const marker = `sleep 32${process.pid}`;
  const running = exec(['sh', '-c', marker]);
  const pid = await eventually('it runs', () => findProcess(marker));
  const followed = new Promise<string>((resolve, reject) => {
    request({ socketPath, path: '/logs/shop/web?follow=true' }, (res) => {
      res.on('end', () => resolve('ended'));
      res.on('error', reject);
      res.resume();
    }).end();
  });
  node.pods.delete('uid-web');
  node.changed();
  assert.equal((await running).code, 137);
  assert.equal(await followed, 'ended');
  await eventually('it is gone', () => !isAlive(pid));
});

test('a port of the pod is reached from inside of it; each end of the connection closes by itself', async () => {
  const target = { namespace: 'shop', pod: 'web', port: 8080 };
  const socket = await forwardOverSocket(socketPath, target);
  const words: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => words.push(chunk));
  const over = once(socket, 'close');
  // No HTTP: it is echoed, and ended once we have ended.
  const sent = Buffer.alloc(1_000_000, 'heddle ');
  socket.end(sent);
  await over;
  assert.ok(Buffer.concat(words).equals(sent));

  await assert.rejects(forwardOverSocket(socketPath, { ...target, port: 81 }), {
    code: 'PortForwardFailed',
    message:
      /^error forwarding port 81 to pod web_shop, uid uid-web: .*127\.0\.0\.1:81: connect: connection refused/,
  });
  await assert.rejects(forwardOverSocket(socketPath, { ...target, pod: 'nobody' }), { code: 'PodNotHere' });

  const open = await forwardOverSocket(socketPath, target);
  open.resume();
  node.pods.delete('uid-web');
  node.changed();
  await assert.rejects(once(open, 'close'), { code: 'ExecFailed' });
});

test('attach to a stand-in shows what it logs from then on; a terminal ends it by Ctrl-C', async () => {
  const path = node.host.find('shop', 'web')!.logFile();
  await eventually('a log', async () => (await get('/logs/shop/web')).includes('starts on'));
  for (const terminal of [undefined, { onResize: () => {} }]) {
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    const leave = new AbortController();
    let seen = '';
    stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    const attached = execOverSocket(socketPath, {
      namespace: 'shop',
      pod: 'web',
      stdin,
      stdout,
      stderr: new PassThrough(),
      signal: leave.signal,
      ...(terminal ? { terminal } : {}),
    }).catch((error: unknown) => error);
    const line = terminal ? 'in a terminal' : 'plain';
    // Whether it looks already nobody tells.
    await eventually('the line', async () => {
      if (seen === '') await appendFile(path, `${line}\n`);
      return seen !== '';
    });
    assert.equal(seen.split('\n')[0], terminal ? `${line}\r` : line);
    if (terminal) {
      stdin.write('\u0003');
      assert.equal(await attached, 0);
    } else {
      leave.abort(new Error('enough'));
      assert.match(String(await attached), /enough/);
    }
  }
});

test('a log of a stand-in is cut by time and size, as others are', async () => {
  const path = node.host.find('shop', 'web')!.logFile();
  await eventually('a log', async () => (await get('/logs/shop/web')).includes('starts on'));
  await appendFile(path, '2030-01-01T00:00:00.000Z late\nand more of it\n');
  const since = '/logs/shop/web?sinceTime=2029-01-01T00:00:00Z';
  assert.equal(await get(since), '2030-01-01T00:00:00.000Z late\nand more of it\n');
  assert.equal(await get(`${since}&limitBytes=4`), '2030');
  assert.equal(await get('/logs/shop/web?timestamps=true&tail=1&follow=false'), 'and more of it\n');
  assert.match(await get('/logs/shop/web?container=nosuch'), /nosuch is not valid for pod web/);
  assert.match(await get('/logs/shop/web?previous=true'), /previous terminated container .* not found/);
});

test('what cannot be run is said', async () => {
  assert.equal((await exec(['no-such-program'])).code, 127);
  await assert.rejects(
    execOverSocket(socketPath, {
      namespace: 'shop',
      pod: 'nobody',
      argv: ['true'],
      stdout: new PassThrough(),
      stderr: new PassThrough(),
    }),
    { code: 'PodNotHere' },
  );
  await assert.rejects(exec([]), { code: 'ExecFailed' });
  await assert.rejects(
    execOverSocket('/nowhere.sock', {
      namespace: 'shop',
      pod: 'web',
      argv: ['true'],
      stdout: new PassThrough(),
      stderr: new PassThrough(),
    }),
    { code: 'SocketCall' },
  );
});

test('a probe of the agent socket comes from the pod', async () => {
  const ip = node.pods.get('uid-web')!.status!.podIP!;
  const body = { namespace: 'shop', pod: 'web', host: ip, port: 8080, kind: 'tcp' };
  const result = await callSocket<ProbeResult>({ socketPath, method: 'POST', path: '/probe', body });
  assert.equal(result.responder, 'shop/web');
  assert.equal(result.peerSeen, ip);
  await assert.rejects(
    callSocket({ socketPath, method: 'POST', path: '/probe', body: { ...body, pod: 'x' } }),
    /node-1 has no pod shop\/x/,
  );
});

test('logs can be cut to their end and followed across a rotation', async () => {
  const path = node.host.find('shop', 'web')!.logFile();
  await eventually('the first line', async () => (await get('/logs/shop/web')).includes('starts on node-1'));
  await appendFile(path, 'one\ntwo\nthree\n');
  assert.equal(await get('/logs/shop/web?tail=2'), 'two\nthree\n');
  const stop = new AbortController();
  let seen = '';
  const following = get('/logs/shop/web?tail=1&follow=true', stop.signal, (chunk) => (seen += chunk)).catch(
    () => '',
  );
  await eventually('the tail', () => seen === 'three\n');
  await appendFile(path, 'four\n');
  await eventually('what follows', () => seen.endsWith('four\n'));
  await rename(path, `${path}.1`);
  await appendFile(path, 'five\n');
  await eventually('the next file', () => seen.endsWith('five\n'));
  assert.equal(await get('/logs/shop/web?tail=2'), 'four\nfive\n');
  stop.abort();
  await following;
});

function get(
  path: string,
  signal?: AbortSignal,
  onData: (chunk: string) => void = () => {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, path, agent: false, signal }, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        text += chunk;
        onData(chunk);
      });
      res.on('end', () => resolve(text));
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end();
  });
}

async function findProcess(command: string): Promise<number | undefined> {
  const { readdir, readFile } = await import('node:fs/promises');
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (line.replaceAll('\0', ' ').trim() === command) return Number(name);
  }
  return undefined;
}
