import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { constants, createDeflate, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { adler32, dictionary } from './dictionary.ts';
import { controlFrame, createFrameReader, dataFrame, Type } from './frame.ts';
import { createHeaderReader, createHeaderWriter } from './headers.ts';
import type { SpdyStream } from './stream.ts';
import { createTestPeer, type TestPeer } from './test-peer.ts';

async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error('it never came to be');
    await setImmediate();
  }
}

const echo = () => (stream: SpdyStream) => void stream.pipe(stream);
const ignore = () => (_stream: SpdyStream) => {};

test('the dictionary is the one of the specification', () => {
  assert.equal(dictionary.length, 1423);
  assert.equal(adler32(dictionary), 0xe3c6a7c2);
});

test('frames are the same however they are cut', () => {
  const frame = fc.oneof(
    fc.record({ kind: fc.integer({ min: 1, max: 9 }), payload: fc.uint8Array({ maxLength: 40 }) }),
    fc.record({
      stream: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      payload: fc.uint8Array({ maxLength: 40 }),
    }),
  );
  fc.assert(
    fc.property(fc.array(frame), fc.integer({ min: 1, max: 20 }), (sent, size) => {
      const bytes = Buffer.concat(
        sent.map((one) =>
          'kind' in one
            ? controlFrame(one.kind, 0, Buffer.from(one.payload))
            : dataFrame(one.stream, one.payload, true),
        ),
      );
      const reader = createFrameReader();
      const got: { kind?: number; stream?: number; payload: number[] }[] = [];
      let open = false;
      for (let at = 0; at < bytes.length; at += size) {
        reader.push(bytes.subarray(at, at + size));
        for (let one = reader.next(); one; one = reader.next()) {
          const payload = [...one.payload];
          if (one.type === 'control') got.push({ kind: one.kind, payload });
          else if (open) got.at(-1)!.payload.push(...payload);
          else got.push({ stream: one.stream, payload });
          open = one.type === 'data' && !one.fin;
        }
      }
      assert.deepEqual(
        got,
        sent.map((one) => ({ ...one, payload: [...one.payload] })),
      );
    }),
  );
});

test('headers are read from what another zlib packs, block after block, and written so that it reads them', async () => {
  const deflate = createDeflate({ dictionary, level: 9 });
  const ours = createHeaderReader();
  const theirs = createHeaderReader();
  const write = createHeaderWriter();
  for (let i = 0; i < 5; i++) {
    const headers = new Map([
      ['streamtype', i % 2 ? 'data' : 'error'],
      ['port', String(80 + i)],
    ]);
    const plain = Buffer.concat([
      Buffer.from([0, 0, 0, 2]),
      ...[...headers].flat().flatMap((text) => [Buffer.from([0, 0, 0, text.length]), Buffer.from(text)]),
    ]);
    const parts: Buffer[] = [];
    const collect = (part: Buffer) => void parts.push(part);
    deflate.on('data', collect);
    deflate.write(plain);
    await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, resolve));
    // An empty stored block is the end of what was flushed.
    await until(() =>
      Buffer.concat(parts)
        .subarray(-4)
        .equals(Buffer.from([0, 0, 0xff, 0xff])),
    );
    deflate.off('data', collect);
    const packed = Buffer.concat(parts);
    assert.deepEqual(await ours.read(packed), headers);
    assert.deepEqual(await theirs.read(write(headers)), headers);
  }
  ours.close();
  theirs.close();
});

test('a stream is answered, echoes, and its ends close apart', async () => {
  const peer = createTestPeer(echo);
  peer.syn(1, { streamtype: 'data' });
  await until(() => peer.controls(Type.synReply).length === 1);
  peer.session.feed(dataFrame(1, Buffer.from('hello')));
  await until(() => peer.text(1) === 'hello');
  peer.session.feed(dataFrame(1, Buffer.from(' you'), true));
  await until(() => peer.frames.some((one) => one.type === 'data' && one.fin));
  assert.equal(peer.text(1), 'hello you');
  assert.equal(peer.end, undefined);
  assert.deepEqual(peer.controls(Type.rstStream), []);
});

test('pings come back, answers to none of ours do not', async () => {
  const peer = createTestPeer(ignore);
  peer.session.feed(Buffer.concat([controlFrame(Type.ping, 0, 7), controlFrame(Type.ping, 0, 8)]));
  await until(() => peer.controls(Type.ping).length > 0);
  assert.equal(peer.controls(Type.ping).length, 1);
  assert.equal(peer.controls(Type.ping)[0]!.payload.readUInt32BE(), 7);
});

test('a stream that is not wanted is refused, and the session goes on', async () => {
  const peer = createTestPeer((headers) => {
    if (headers.get('streamtype') !== 'data') throw new Error('not that');
    return echo();
  });
  peer.syn(1, { streamtype: 'other' });
  peer.session.feed(dataFrame(1, Buffer.from('lost')));
  peer.syn(3, { streamtype: 'data' });
  peer.session.feed(dataFrame(3, Buffer.from('kept')));
  await until(() => peer.text(3) === 'kept');
  assert.deepEqual(
    peer.controls(Type.rstStream).map(({ payload }) => payload.toString('hex')),
    ['0000000100000003'],
  );
});

test('what nobody reads stops the transport, and it goes on when it is read', async () => {
  let stream: SpdyStream | undefined;
  const peer = createTestPeer(() => (one) => void (stream = one));
  peer.syn(1);
  await until(() => stream !== undefined);
  let sent = 0;
  while (!peer.paused) {
    peer.session.feed(dataFrame(1, Buffer.alloc(10_000)));
    sent += 10_000;
    await setImmediate();
    assert.ok(sent < 1 << 20, 'it is paused before a MiB');
  }
  assert.ok(stream!.readableLength <= sent);
  stream!.resume();
  await until(() => !peer.paused);
});

for (const [what, streams, size] of [
  ['many streams', 400, 1000],
  ['small pieces', 2, 4],
] as const)
  test(`what nobody reads stops the transport at a bound of the whole session: ${what}`, async () => {
    const open: SpdyStream[] = [];
    const peer = createTestPeer(() => (one) => void open.push(one));
    for (let i = 0; i < streams; i++) peer.syn(2 * i + 1);
    await until(() => open.length === streams);
    let pieces = 0;
    while (!peer.paused) {
      peer.session.feed(dataFrame(2 * (pieces % streams) + 1, Buffer.alloc(size)));
      pieces++;
      assert.ok(
        pieces * (size + 256) < 2 << 20,
        'it is paused before two MiB, what holds the pieces included',
      );
      if (pieces % 64 === 0) await setImmediate();
    }
    // What one of them leaves unread holds up no other, once there is room again.
    for (const one of open.slice(1)) one.resume();
    await until(() => !peer.paused);
    open[0]!.destroy();
    peer.session.close();
    assert.equal(peer.end!.error, undefined);
  });

test('a client that keeps windows is never sent more than they allow, and all of it in the end', async () => {
  let stream: SpdyStream | undefined;
  const peer = createTestPeer(() => (one) => void (stream = one));
  const settings = Buffer.from([0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0x10, 0]);
  peer.session.feed(controlFrame(Type.settings, 0, settings));
  peer.syn(1);
  await until(() => stream !== undefined);
  stream!.write(Buffer.alloc(10_000, 'x'));
  await until(() => peer.text(1).length > 0);
  assert.equal(peer.text(1).length, 4096);
  peer.session.feed(controlFrame(Type.windowUpdate, 0, 1, 1000));
  await until(() => peer.text(1).length === 5096);
  peer.session.feed(controlFrame(Type.windowUpdate, 0, 1, 1_000_000));
  await until(() => peer.text(1).length === 10_000);
});

test('our own data waits for a client that does not read', async () => {
  let stream: SpdyStream | undefined;
  const peer = createTestPeer(() => (one) => void (stream = one));
  peer.syn(1);
  await until(() => stream !== undefined);
  peer.stopReading();
  stream!.write(Buffer.alloc(200_000, 'x'));
  await setImmediate();
  assert.ok(peer.text(1).length <= 64 << 10);
  peer.readOn();
  await until(() => peer.text(1).length === 200_000);
});

/** A block that unpacks to a thousand times its size. */
const bomb = (): Buffer => deflateSync(Buffer.alloc(50 << 20), { dictionary });

const syn = (id: number, block: Buffer): Buffer =>
  controlFrame(Type.synStream, 0, id, 0, Buffer.alloc(2), block);
const block = () => createHeaderWriter()(new Map());

for (const [what, send] of [
  ['an even number', (peer) => peer.syn(2)],
  [
    'a number twice',
    (peer) => {
      peer.syn(3);
      peer.syn(3);
    },
  ],
  [
    'a number that falls',
    (peer) => {
      peer.syn(3);
      peer.syn(1);
    },
  ],
  ['data of a stream that was never opened', (peer) => peer.session.feed(dataFrame(9, Buffer.from('x')))],
  ['a reply to nothing', (peer) => peer.session.feed(controlFrame(Type.synReply, 0, 1))],
  ['a giant control frame', (peer) => peer.session.feed(Buffer.from('80030001ffffffff', 'hex'))],
  ['another version', (peer) => peer.session.feed(Buffer.from('8002000100000004000000', 'hex'))],
  ['a header block that is none', (peer) => peer.session.feed(syn(1, Buffer.from('nonsense')))],
  ['a header block that is cut off', (peer) => peer.session.feed(syn(1, block().subarray(0, 9)))],
  ['a header block that grows a thousandfold', (peer) => peer.session.feed(syn(1, bomb()))],
  ['a stream with no room for its number', (peer) => peer.session.feed(controlFrame(Type.synStream, 0))],
  ['a window of nothing', (peer) => peer.session.feed(controlFrame(Type.windowUpdate, 0, 0, 0))],
  [
    'windows beyond all bounds',
    (peer) =>
      peer.session.feed(
        Buffer.concat(Array.from({ length: 3 }, () => controlFrame(Type.windowUpdate, 0, 0, 0x7fffffff))),
      ),
  ],
  ['settings that do not fit', (peer) => peer.session.feed(controlFrame(Type.settings, 0, 1000))],
  [
    'pings without end and no eyes for the answers',
    (peer) => {
      peer.stopReading();
      for (let i = 0; i < 100; i++)
        peer.session.feed(Buffer.concat(Array.from({ length: 1000 }, () => controlFrame(Type.ping, 0, 1))));
    },
  ],
] as [what: string, send: (peer: TestPeer) => void][])
  test(`a session ends with GOAWAY and an error for ${what}`, async () => {
    const streams: SpdyStream[] = [];
    const peer = createTestPeer(() => (stream) => void streams.push(stream));
    send(peer);
    await until(() => peer.end !== undefined);
    assert.ok(peer.end!.error instanceof Error);
    assert.equal(peer.controls(Type.goAway).length, 1);
    assert.ok(peer.closed);
    assert.ok(streams.every((stream) => stream.destroyed));
  });

test('a stream has an end: what comes after it resets the stream alone', async () => {
  const peer = createTestPeer(ignore);
  peer.syn(1);
  peer.session.feed(dataFrame(1, Buffer.from('a'), true));
  peer.session.feed(dataFrame(1, Buffer.from('b')));
  await until(() => peer.controls(Type.rstStream).length === 1);
  assert.equal(peer.end, undefined);
});

test('more streams than a session may have are refused', async () => {
  const peer = createTestPeer(ignore);
  for (let i = 0; i < 4100; i++) peer.syn(2 * i + 1);
  await until(() => peer.controls(Type.rstStream).length === 4);
  assert.equal(peer.controls(Type.synReply).length, 4096);
  peer.session.close();
});

test('whatever bytes come, a session goes on or ends; nothing is thrown', async () => {
  const junk = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc
      .tuple(
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 0, max: 255 }),
        fc.uint8Array({ maxLength: 40 }),
      )
      .map(([kind, flags, payload]) => controlFrame(kind, flags, Buffer.from(payload))),
    fc
      .tuple(fc.integer({ min: 0, max: 5 }), fc.boolean(), fc.uint8Array({ maxLength: 40 }))
      .map(([stream, fin, payload]) => dataFrame(stream, payload, fin)),
    fc.integer({ min: 0, max: 5 }).map((id) => syn(id, block())),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(junk, { maxLength: 12 }), async (chunks) => {
      const peer = createTestPeer(echo);
      for (const chunk of chunks) peer.session.feed(chunk);
      await setImmediate();
      peer.session.close();
      assert.ok(peer.end && peer.closed);
    }),
  );
});
