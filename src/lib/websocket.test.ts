import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { acceptWebSocket, createFrameReader, encodeFrame } from './websocket.ts';

/** As a client sends it: masked. */
function masked(opcode: number, payload: Uint8Array, final = true): Buffer {
  const frame = encodeFrame(opcode, payload);
  const start = frame.length - payload.length;
  const mask = Buffer.of(1, 2, 3, 4);
  const body = Buffer.from(payload.map((byte, i) => byte ^ mask[i & 3]!));
  const head = Buffer.from(frame.subarray(0, start));
  head[0] = (final ? 0x80 : 0) | opcode;
  head[1]! |= 0x80;
  return Buffer.concat([head, mask, body]);
}

function read(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const messages: Buffer[] = [];
  const feed = createFrameReader((_opcode, payload) => messages.push(payload));
  let from = 0;
  for (const cut of [
    ...cuts.map((one) => one % (bytes.length + 1)).toSorted((a, b) => a - b),
    bytes.length,
  ]) {
    feed(bytes.subarray(from, cut));
    from = cut;
  }
  return messages;
}

test('messages arrive whole, however they were cut and fragmented', () => {
  const message = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(message), fc.array(fc.nat(), { maxLength: 8 }), (messages, cuts) => {
      const frames = messages.flatMap((parts) =>
        parts.map((part, i) => masked(i === 0 ? 2 : 0, part, i === parts.length - 1)),
      );
      assert.deepEqual(
        read(Buffer.concat(frames), cuts),
        messages.map((parts) => Buffer.concat(parts)),
      );
    }),
  );
});

for (const [what, bytes] of [
  ['a frame without a mask', encodeFrame(2, Buffer.of(1))],
  ['reserved bits', Buffer.of(0xc2, 0x80, 0, 0, 0, 0)],
  ['a continuation of nothing', masked(0, Buffer.of(1))],
  ['a frame that claims too much', Buffer.of(0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)],
] as const)
  test(`${what} is refused`, () => assert.throws(() => read(bytes, [])));

test('any bytes are read or refused, never hung upon', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      try {
        read(Buffer.from(bytes), []);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
  );
});

test('a connection that was slowed down ends with its client, though nobody reads it any more', async (t) => {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const client = connect((server.address() as { port: number }).port, '127.0.0.1');
  t.after(() => client.destroy());
  const [socket] = (await once(server, 'connection')) as [Socket];
  const slowed = Promise.withResolvers<void>();
  const ws = acceptWebSocket(socket, {
    key: 'k',
    protocol: 'p',
    head: Buffer.alloc(0),
    onMessage() {
      ws.pause();
      slowed.resolve();
    },
  });
  client.write(Buffer.concat([masked(2, Buffer.alloc(1000)), masked(2, Buffer.alloc(1000))]));
  await slowed.promise;
  client.resume();
  client.on('end', () => client.end(masked(8, Buffer.alloc(0))));
  ws.close();
  if (!ws.closed.aborted) await once(ws.closed, 'abort');
});

/** A connection whose client takes nothing until `readOn`. */
function unread() {
  let taken: (() => void) | undefined;
  let isRead = false;
  const socket = new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      if (isRead) done();
      else taken = done;
    },
  });
  const readOn = () => {
    isRead = true;
    taken?.();
  };
  return { socket, readOn };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const REPLY = Buffer.alloc(16 << 10);

for (const [what, opcode] of [
  ['pings', 9],
  ['questions', 2],
] as const)
  test(`a client that reads nothing of the answers to its ${what} has few of them waiting`, async (t) => {
    const { socket, readOn } = unread();
    t.after(() => socket.destroy());
    let asked = 0;
    const ws = acceptWebSocket(socket, {
      key: 'k',
      protocol: '',
      head: Buffer.alloc(0),
      onMessage(payload) {
        assert.equal(payload.readUInt32BE(0), asked++);
        if (ws.send(REPLY)) return;
        ws.pause();
        ws.onceDrained(ws.resume);
      },
    });
    const question = (i: number) => {
      const payload = Buffer.alloc(100);
      payload.writeUInt32BE(i);
      return masked(opcode, payload);
    };
    socket.push(Buffer.concat(Array.from({ length: 2000 }, (_, i) => question(i))));
    await turn();
    assert.ok(socket.writableLength < 128 << 10, `${socket.writableLength} bytes wait`);
    readOn();
    const isOver = () => opcode !== 2 || asked === 2000;
    for (let round = 0; !isOver(); round++) {
      assert.ok(round < 100_000, `${asked} questions were answered`);
      await turn();
    }
  });
