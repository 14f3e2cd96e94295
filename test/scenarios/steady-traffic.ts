/**
 * What must not notice a change of the way between nodes: one long stream each way, and datagrams with numbers, small
 * ones and ones that fill a packet. Arguments: `serve PORT`, or `send PORT BYTES HOST…`; it ends on SIGTERM and
 * prints, as JSON, what came back. BYTES: of the largest datagram's payload by IPv6.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const INTERVAL = 5;
/** Datagrams under way at once: who gets no turn for a second must not lose what waits in his socket. */
const WINDOW = 24;
/** For the last ones to come back. */
const PATIENCE = 30_000;

const [verb, portText, bytesText, ...hosts] = process.argv.slice(2);
const port = Number(portText);
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());

async function whileOpen(isOpen: () => boolean): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (isOpen() && Date.now() < end) await sleep(10);
}

async function serve(): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(port, '::');
  const datagrams = createSocket({ type: 'udp6', recvBufferSize: 1 << 20 });
  datagrams.on('message', (data, from) => datagrams.send(data, from.port, from.address));
  datagrams.bind(port, '::');
  await Promise.all([once(server, 'listening'), once(datagrams, 'listening')]);
  process.stdout.write('started\n');
  await once(stop.signal, 'abort');
  process.exit(0);
}

/** Numbers of four bytes, one after another: what comes back must be what was sent, in order, to the last. */
async function stream(host: string) {
  const socket = connect({ host, port });
  let [sent, back, error] = [0, 0, ''];
  let left = Buffer.alloc(0);
  socket.on('error', (each) => {
    error ||= String(each);
  });
  socket.on('close', () => {
    error ||= 'closed by the other end';
  });
  socket.on('data', (chunk: Buffer) => {
    left = Buffer.concat([left, chunk]);
    while (left.length >= 4) {
      if (left.readUInt32BE(0) !== back) error ||= `${left.readUInt32BE(0)} came back where ${back} was next`;
      back++;
      left = left.subarray(4);
    }
  });
  await once(socket, 'connect');
  const goesOn = () => !stop.signal.aborted && error === '';
  while (goesOn()) {
    const block = Buffer.alloc(16_384);
    for (let at = 0; at < block.length; at += 4) block.writeUInt32BE(sent++, at);
    if (!socket.write(block)) await Promise.race([once(socket, 'drain'), once(stop.signal, 'abort')]);
    await sleep(1);
  }
  await whileOpen(() => back < sent && error === '');
  const result = { way: `stream ${host}`, sent, lost: sent - back, error };
  socket.removeAllListeners('close');
  socket.destroy();
  return result;
}

async function datagrams(host: string, size: number) {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
  const open = new Map<number, string>();
  let [sent, error] = [0, ''];
  socket.on('error', (each) => {
    error ||= String(each);
  });
  socket.on('message', (data) => open.delete(data.readUInt32BE(0)));
  while (!stop.signal.aborted) {
    if (open.size >= WINDOW) {
      await sleep(INTERVAL);
      continue;
    }
    const data = Buffer.alloc(sent % 2 === 0 ? size : 64);
    data.writeUInt32BE(sent, 0);
    open.set(sent++, new Date().toISOString());
    socket.send(data, port, host);
    await sleep(INTERVAL);
  }
  await whileOpen(() => open.size > 0);
  socket.close();
  if (open.size > 0) error ||= `lost: ${[...open].slice(0, 20).join('; ')}`;
  return { way: `datagrams ${host}`, sent, lost: open.size, error };
}

if (verb === 'serve') await serve();
const size = Number(bytesText);
const running = hosts.flatMap((host) => [
  stream(host),
  datagrams(host, host.includes(':') ? size : size + 20),
]);
process.stdout.write('started\n');
process.stdout.write(`${JSON.stringify(await Promise.all(running))}\n`);
process.exit(0);
