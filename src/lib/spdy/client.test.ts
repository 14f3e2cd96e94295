import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { createSpdyClient } from './client.ts';
import { controlFrame, dataFrame, Type } from './frame.ts';
import { createSpdySession } from './session.ts';
import type { SpdyStream } from './stream.ts';

function pair() {
  const [ours, theirs] = duplexPair();
  const streams = new Map<string, SpdyStream>();
  const session = createSpdySession({
    transport: {
      send: (bytes) => theirs.write(bytes),
      onceDrained: (go) => void theirs.once('drain', go),
      pause: () => void theirs.pause(),
      resume: () => void theirs.resume(),
      close: () => void theirs.end(),
    },
    accept: (headers) => (stream) => void streams.set(headers.get('streamtype') ?? '', stream),
    onEnd: () => {},
  });
  theirs.on('data', (chunk: Buffer) => session.feed(chunk));
  const errors: Error[] = [];
  const client = createSpdyClient(ours, Buffer.alloc(0), (error) => errors.push(error));
  const at = async (name: string): Promise<SpdyStream> => {
    while (!streams.has(name)) await new Promise((resolve) => void setImmediate(resolve));
    return streams.get(name)!;
  };
  return { client, at, ours, theirs, errors };
}

test('streams that a client opens carry bytes both ways, and end apart from each other', async () => {
  const { client, at } = pair();
  let heard = '';
  const ended = Promise.withResolvers<void>();
  const one = client.open(
    { streamtype: 'stdin' },
    { onData: (chunk) => (heard += chunk.toString()), onEnd: ended.resolve },
  );
  const two = client.open({ streamtype: 'resize' });
  one.send(Buffer.from('hello'));
  one.end();
  two.send(Buffer.from('{}'));
  const stdin = await at('stdin');
  let got = '';
  stdin.on('data', (chunk: Buffer) => (got += chunk.toString()));
  await new Promise((resolve) => void stdin.once('end', resolve));
  assert.equal(got, 'hello');
  stdin.end('and back');
  await ended.promise;
  assert.equal(heard, 'and back');
  const resize = await at('resize');
  assert.equal(String(await new Promise((resolve) => void resize.once('data', resolve))), '{}');
});

test('a server that gives a stream up has ended it; what is no frame is an error; its pings come back', async () => {
  const { client, at, ours, theirs, errors } = pair();
  const ended = Promise.withResolvers<void>();
  client.open({ streamtype: 'stdout' }, { onEnd: ended.resolve });
  (await at('stdout')).destroy();
  await ended.promise;
  const answer = new Promise<Buffer>((resolve) => void theirs.once('data', resolve));
  theirs.write(controlFrame(Type.ping, 0, 4));
  assert.deepEqual(await answer, controlFrame(Type.ping, 0, 4));

  theirs.write(Buffer.from([0x80, 9, 0, 1, 0, 0, 0, 0]));
  ours.on('close', () => {});
  while (errors.length === 0) await new Promise((resolve) => void setImmediate(resolve));
  assert.match(errors[0]!.message, /version/);
});

test('whatever a server sends, in whatever pieces, is taken or told of once', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.diagnostic(`seed ${seed}`);
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  const bytes = (length: number) => Buffer.from(Array.from({ length }, () => below(256)));
  for (let round = 0; round < 200; round++) {
    const { client, ours, errors } = pair();
    let heard = 0;
    let ends = 0;
    client.open(
      { streamtype: 'stdout' },
      { onData: (chunk) => (heard += chunk.length), onEnd: () => ends++ },
    );
    let data = 0;
    for (let i = 0; i < 20 && errors.length === 0; i++) {
      const whole = [
        () => controlFrame(below(12), below(4), bytes(below(40))),
        () => dataFrame(below(4), bytes(below(100)), below(4) === 0),
        () => (below(10) === 0 ? bytes(below(60)) : controlFrame(Type.ping, 0, below(8))),
      ][below(3)]!();
      data += whole.length;
      const cut = below(whole.length + 1);
      for (const part of [whole.subarray(0, cut), whole.subarray(cut)])
        if (part.length > 0) ours.emit('data', part);
    }
    for (let i = 0; i < 3; i++) ours.emit('data', bytes(32));
    assert.ok(errors.length <= 1 && ends <= 1 && heard <= data + 96, `seed ${seed}, round ${round}`);
  }
});

test('a server that asks and does not read is let go', () => {
  const { ours, errors } = pair();
  ours.cork();
  const pings = Buffer.concat(Array.from({ length: 5000 }, () => controlFrame(Type.ping, 0, 2)));
  for (let i = 0; i < 40; i++) ours.emit('data', pings);
  assert.match(errors[0]?.message ?? '', /does not read the answers/);
  assert.equal(errors.length, 1);
});
