import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, test } from 'node:test';
import { silentLog } from '../../lib/log.ts';
import { serveSocket } from '../../lib/socket-server.ts';
import { execOverSocket, type ExecOptions, type TerminalSize } from '../exec-protocol.ts';
import { createMetrics } from '../../lib/metrics.ts';
import { podHostRoutes } from '../http.ts';
import { createTestNode, eventually, isReady, type TestNode } from '../test-node.ts';
import { importBusybox, ociPod } from '../oci/testing.ts';
import { add, logOf, processPod, sh, statusOf } from './test-pods.ts';

let node: TestNode;
let server: Server;
let socketPath: string;
beforeEach(async () => {
  node = await createTestNode();
  await node.startHost();
  socketPath = join(node.folder, 'agent.sock');
  const routes = podHostRoutes({ host: node.host, node: 'node-1', metrics: createMetrics() });
  server = await serveSocket({ socketPath, ...routes, log: silentLog });
});
afterEach(async () => {
  server.close();
  server.closeAllConnections();
  await node.close();
});

/** What is said in a session, and what may be said. */
function converse(pod: string, more: Partial<ExecOptions> = {}) {
  const [stdin, stdout, stop] = [new PassThrough(), new PassThrough(), new AbortController()];
  let text = '';
  let resize: (size: TerminalSize) => void = () => {};
  stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const over = execOverSocket(socketPath, {
    namespace: 'shop',
    pod,
    stdin,
    stdout,
    stderr: new PassThrough(),
    signal: stop.signal,
    ...more,
    ...(more.terminal ? { terminal: { onResize: (listener) => (resize = listener) } } : {}),
  });
  return {
    stdin,
    over,
    stop,
    resize: (columns: number, rows: number) => resize({ columns, rows }),
    said: (words: string) => eventually(`"${words}" in ${JSON.stringify(text)}`, () => text.includes(words)),
  };
}

const terminal = { onResize: () => {} };

const shell = { command: ['sh', '-c', 'PS1="> " exec sh -i'], stdin: true, tty: true };
for (const [of, make] of [
  ['the machine', async () => processPod('shell', [{ name: 'main', image: 'none', ...shell }])],
  [
    'an image',
    async () => {
      await importBusybox(node, 'test/busybox:1');
      return ociPod('shell', shell);
    },
  ],
] as const)
  test(`a program of ${of} in a terminal is attached to, interrupted, left, attached to again, and ends by what is typed`, async () => {
    add(node, await make());
    await eventually('it is Ready', () => isReady(node.pods.get('uid-shell')));
    const first = converse('shell', { terminal });
    first.stdin.write('tty; echo $((40 + 2)) $TERM\n');
    await first.said('/dev/pts/0');
    await first.said('42 xterm\r\n');
    first.resize(133, 44);
    // Its size is set before what is typed later is read.
    first.stdin.write('stty size\n');
    await first.said('44 133\r\n');
    const onlooker = converse('shell', { terminal });
    onlooker.stdin.write('echo $((50 + 5))\n');
    await Promise.all([first.said('55\r\n'), onlooker.said('55\r\n')]);
    first.stdin.write('(echo go; sleep 100000); echo code $?\n');
    await first.said('\r\ngo\r\n');
    first.stdin.write('\x03');
    await first.said('^C');
    first.stdin.write('echo still $((60 + 6))\n');
    await first.said('still 66\r\n');
    first.stop.abort(new Error('the client vanished'));
    await assert.rejects(first.over, /vanished/);
    // The last of it arrives, however much there is.
    onlooker.stdin.write('head -c 300000 /dev/zero | tr "\\0" x; echo; echo $((70 + 7)); exit 5\n');
    assert.equal(await onlooker.over, 0);
    await onlooker.said('x\r\n77\r\n');
    await eventually('its code is known', () => {
      const { state, lastState } = statusOf(node, 'shell') ?? {};
      return (state?.terminated ?? lastState?.terminated)?.exitCode === 5;
    });
    await eventually('all is in the log', () => /77/.test(logOf(node, 'shell').slice(-40)));
    assert.match(logOf(node, 'shell'), /44 133/);
    await assert.rejects(converse('shell', { container: 'nosuch' }).over, { code: 'NoSuchContainer' });
  });

test('input that is given once is over when whoever gave it has gone; without a terminal none is handed out', async () => {
  const script = 'while read x; do echo "got $x"; done; echo over; sleep 1000';
  add(node, processPod('lines', [sh('main', script, { stdin: true, stdinOnce: true })]));
  await eventually('it is Ready', () => isReady(node.pods.get('uid-lines')));
  await assert.rejects(converse('lines', { terminal }).over, {
    code: 'AttachRefused',
    message: /has no terminal/,
  });
  const session = converse('lines');
  session.stdin.write('one\n');
  await session.said('got one\n');
  session.stop.abort(new Error('the client vanished'));
  await assert.rejects(session.over, /vanished/);
  await eventually('its input has ended', () => logOf(node, 'lines') === 'got one\nover\n');
  let open = -1;
  await eventually('its connection is closed at both ends', () => {
    server.getConnections((_error, count) => (open = count));
    return open === 0;
  });
});

test('all that a program says reaches a slow onlooker, and the log; input of any length arrives', async () => {
  const script = 'wc -c; head -c 3000000 /dev/zero | tr "\\0" x; echo; echo done';
  add(node, processPod('long', [sh('main', script, { stdin: true, stdinOnce: true })]));
  await eventually('it is Ready', () => isReady(node.pods.get('uid-long')));
  const stdout = new PassThrough({ highWaterMark: 1 });
  const session = converse('long', { stdout });
  session.stdin.end(Buffer.alloc(1_000_000, 'y'));
  let text = '';
  stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    stdout.pause();
    setImmediate(() => stdout.resume());
  });
  assert.equal(await session.over, 0);
  await eventually('all has come', () => text.endsWith('done\n'));
  assert.match(text, /^1000000\nx{3000000}\ndone\n$/);
  await eventually('all is in the log', () => logOf(node, 'long').endsWith('done\n'));
});

test('a container of an image has standard input, which ends with the first who gives some', async () => {
  await importBusybox(node, 'test/busybox:1', { Cmd: ['cat'] });
  add(node, ociPod('image', { stdin: true, stdinOnce: true }));
  await eventually('it is Ready', () => isReady(node.pods.get('uid-image')));
  const session = converse('image');
  session.stdin.end('to the image\n');
  await session.said('to the image\n');
  assert.equal(await session.over, 0);
  await eventually('it has ended', () => logOf(node, 'image') === 'to the image\n');
});
