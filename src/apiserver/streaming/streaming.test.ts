import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectTcp, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { kubectl, kubectlPath } from '../../../test/kubectl.ts';
import type { Kubelets } from '../kubelets.ts';
import { type Harness, startHarness } from '../testing/harness.ts';

let api: Harness;
let home: string;
let echo: Server;
/** A node whose pods echo: what comes to port 80, and what commands read. */
const kubelets: Kubelets = {
  log: () => Promise.reject(new Error('no log')),
  async exec({ argv, stdin, stdout, stderr }) {
    stderr.write('to the side\n');
    stdout.write(`${(argv ?? ['attached']).join(' ')}\n`);
    if (stdin) for await (const chunk of stdin) stdout.write(chunk);
    return 4;
  },
  async forward(_ref, port) {
    if (port !== 80) throw new Error(`error forwarding port ${port} to pod web: connection refused`);
    const socket = connectTcp({
      port: (echo.address() as { port: number }).port,
      host: '127.0.0.1',
      allowHalfOpen: true,
    });
    await once(socket, 'connect');
    return socket;
  },
};

before(async () => {
  echo = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  api = await startHarness({ kubelets });
  home = mkdtempSync(join(tmpdir(), 'heddle-kubectl-'));
  const pod = {
    metadata: { name: 'web' },
    spec: { nodeName: 'n', containers: [{ name: 'c', image: 'i' }] },
  };
  await api.request('POST', '/api/v1/namespaces/default/pods', { body: pod });
  await api.request('PATCH', '/api/v1/namespaces/default/pods/web/status', {
    body: { status: { phase: 'Running' } },
    type: 'application/merge-patch+json',
  });
});
after(async () => {
  await api.close();
  echo.close();
  rmSync(home, { recursive: true, force: true });
});

const path = '/api/v1/namespaces/default/pods/web';

for (const [what, variable] of [
  ['WebSockets', 'true'],
  ['SPDY', 'false'],
] as const)
  test(`kubectl forwards ports and runs commands over ${what}`, async (t) => {
    const env = {
      KUBECONFIG: api.kubeconfig,
      HOME: home,
      KUBECTL_PORT_FORWARD_WEBSOCKETS: variable,
      KUBECTL_REMOTE_COMMAND_WEBSOCKETS: variable,
    };
    const child = spawn(kubectlPath(), ['port-forward', 'pod/web', ':80'], { env });
    t.after(() => child.kill());
    let said = '';
    const port = await new Promise<number>((resolve, reject) => {
      child.on('close', () => reject(new Error(said)));
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => {
          said += chunk.toString();
          const found = /127\.0\.0\.1:(\d+) -> 80/.exec(said)?.[1];
          if (found) resolve(Number(found));
        });
    });
    // Each says all before it reads any: the end of its own half comes first.
    const talk = async (size: number) => {
      const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
      const text = Buffer.alloc(size, 'heddle ');
      socket.end(text);
      assert.ok((await buffer(socket)).equals(text), `${size} bytes come back`);
    };
    await Promise.all([1, 10, 1000, 100_000, 1_000_000].map(talk));

    const ran = spawn(kubectlPath(), ['exec', '-i', 'web', '--', 'say', 'this'], { env });
    ran.stdin.end('and that\n');
    const [out, err, [code]] = await Promise.all([
      buffer(ran.stdout),
      buffer(ran.stderr),
      once(ran, 'close') as Promise<[number]>,
    ]);
    assert.equal(out.toString(), 'say this\nand that\n');
    assert.match(err.toString(), /^to the side$/m);
    assert.equal(code, 4);
  });

test('kubectl attaches', async () => {
  const options = { kubeconfig: api.kubeconfig, home, input: 'words\n' };
  const { stdout } = await kubectl(['attach', '-i', 'web'], options);
  assert.match(stdout, /attached\nwords\n/);
});

test('a client library forwards ports over two channels each', async () => {
  const client = await dialWebSocket('ports=80&ports=81', 'v4.channel.k8s.io');
  const first = [Buffer.of(0, 80, 0), Buffer.of(1, 80, 0), Buffer.of(2, 81, 0), Buffer.of(3, 81, 0)];
  assert.deepEqual((await client.messages(4)).slice(0, 4), first);
  const why = (await client.messages(5))[4]!;
  assert.equal(why[0], 3);
  assert.match(why.toString(), /forwarding port 81 to pod web: connection refused/);
  client.send(Buffer.from('\0hello'));
  assert.equal((await client.messages(6))[5]!.toString(), '\0hello');
  client.close();
});

test('a log is asked for in numbers that make sense, in the words of Kubernetes', async () => {
  for (const [query, code, words] of [
    [
      'tailLines=-1',
      422,
      /PodLogOptions "" is invalid: tailLines: Invalid value: -1: must be greater than or/,
    ],
    ['limitBytes=0', 422, /limitBytes: Invalid value: 0: must be greater than 0/],
    ['sinceSeconds=0', 422, /sinceSeconds: Invalid value: 0/],
    ['sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z', 422, /at most one of `sinceTime` or `sinceSeconds`/],
    ['tailLines=some', 400, /unable to parse tailLines "some"/],
    ['sinceTime=then', 400, /unable to parse sinceTime "then"/],
    ['tailLines=1', 400, /no log/],
  ] as const) {
    const answer = await api.request('GET', `${path}/log?${query}`);
    assert.equal(answer.status, code, query);
    assert.match(answer.json.message, words);
  }
});

test('sessions are counted: begun, open, failed, and their bytes', async () => {
  const read = async () => (await api.request('GET', '/metrics')).text;
  const client = await dialWebSocket('ports=81', 'v4.channel.k8s.io');
  await client.messages(3);
  client.close();
  const isOver = /longrunning_requests\{resource="pods",subresource="portforward",verb="CONNECT"\} 0/;
  let text = await read();
  // The connection's end is heard of a moment later.
  for (const end = Date.now() + 60_000; !isOver.test(text) && Date.now() < end; ) text = await read();
  assert.match(text, isOver);
  assert.match(text, /heddle_streaming_sessions_total\{kind="portforward",transport="WebSocket"\} [1-9]/);
  assert.match(text, /heddle_streaming_failures_total\{kind="portforward"\} [1-9]/);
  assert.match(text, /heddle_streaming_bytes_total\{direction="sent",kind="portforward"\} [1-9]/);
  assert.match(text, /apiserver_request_total\{code="101",resource="pods",verb="CONNECT"\} [1-9]/);
});

test('what is no way to a pod is refused as Kubernetes does', async () => {
  const upgrade = (headers: Record<string, string>, query = '') =>
    api.request('POST', `${path}/portforward${query}`, { headers: { connection: 'Upgrade', ...headers } });
  const spdy = await upgrade({ upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'other' });
  assert.equal(spdy.status, 403);
  assert.match(spdy.json.message, /unable to negotiate protocol: client supports \[other\]/);
  await assert.rejects(dialWebSocket('ports=0', 'v4.channel.k8s.io'), /400.*must be > 0/s);
  await assert.rejects(dialWebSocket('', 'v4.channel.k8s.io'), /400.*ports.* is required/s);
  await assert.rejects(dialWebSocket('ports=80', 'v9.nobody'), /400/);
  await assert.rejects(dialWebSocket('ports=80', 'v4.channel.k8s.io', 'wrong'), /40[13]/);
});

/** A WebSocket by hand: small frames, all in one piece. */
async function dialWebSocket(query: string, protocol: string, token = 'secret-token') {
  const socket = connectTls({
    port: api.port,
    host: '127.0.0.1',
    ca: api.authority.ca,
  });
  socket.write(
    `GET ${path}/portforward?${query} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: ${protocol}\r\n\r\n`,
  );
  let rest: Buffer = Buffer.alloc(0);
  const more = new Set<() => void>();
  socket.on('error', () => {});
  socket.on('close', () => more.forEach((go) => go()));
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    more.forEach((go) => go());
  });
  const until = (holds: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!holds() && !socket.closed) return;
        more.delete(look);
        if (holds()) resolve();
        else reject(new Error(`it ended: ${rest.toString()}`));
      };
      more.add(look);
      look();
    });
  await until(() => rest.includes('\r\n\r\n') && (rest.includes('HTTP/1.1 101') || socket.closed));
  if (!rest.includes('HTTP/1.1 101')) throw new Error(rest.toString());
  rest = rest.subarray(rest.indexOf('\r\n\r\n') + 4);
  const parse = () => {
    const found: Buffer[] = [];
    for (let at = 0; at + 2 <= rest.length; ) {
      const long = rest[at + 1] === 126;
      const start = at + (long ? 4 : 2);
      const length = long ? rest.readUInt16BE(at + 2) : rest[at + 1]!;
      if (rest.length < start + length) break;
      found.push(rest.subarray(start, start + length));
      at = start + length;
    }
    return found;
  };
  return {
    async messages(count: number) {
      await until(() => parse().length >= count);
      return parse();
    },
    send: (payload: Buffer) =>
      void socket.write(Buffer.concat([Buffer.of(0x82, 0x80 | payload.length, 0, 0, 0, 0), payload])),
    close: () => void socket.destroy(),
  };
}
