import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { createSpdyClient } from './client.ts';
import { controlFrame, Type } from './frame.ts';
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
