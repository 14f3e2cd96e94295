import assert from 'node:assert/strict';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { createEventStream, type EventStream } from './event-stream.ts';

interface Pair {
  readonly stream: EventStream;
  readonly response: ServerResponse;
  readonly reader: IncomingMessage;
}

/** A stream and its reader, over a real socket; the reader is paused. */
function pair(t: TestContext, initial: Iterable<Buffer> = [], maxWaiting?: number): Promise<Pair> {
  return new Promise((resolve) => {
    const server = createServer((_request, response) => {
      response.flushHeaders();
      const stream = createEventStream(response, initial, maxWaiting);
      asked.on('response', (reader) => resolve({ stream, response, reader }));
    });
    let asked: ReturnType<typeof get>;
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      asked = get({ host: '127.0.0.1', port: typeof address === 'object' ? address?.port : 0 });
      asked.on('error', () => {});
    });
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
  });
}

async function readAll(reader: IncomingMessage): Promise<string> {
  let text = '';
  reader.setEncoding('utf8');
  for await (const chunk of reader) text += chunk;
  return text;
}

const line = (n: number, size = 0) => Buffer.from(`${n}${'.'.repeat(size)}\n`);
const numbers = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((one) => Number.parseInt(one, 10));

test('what exists comes before what happens, in order, and the end after all of it', async (t) => {
  const initial = Array.from({ length: 2000 }, (_, n) => line(n, 1000));
  const { stream, reader } = await pair(t, initial);
  for (let n = 2000; n < 4000; n++) stream.push(line(n, 1000));
  stream.end();
  const got = numbers(await readAll(reader));
  assert.deepEqual(
    got,
    Array.from({ length: 4000 }, (_, n) => n),
  );
  await stream.ended;
});

test('what exists is made only as fast as the watcher reads', async (t) => {
  const count = { made: 0 };
  function* endless() {
    for (;;) yield line(count.made++, 100_000);
  }
  const { reader, stream } = await pair(t, endless());
  while (count.made === 0) await new Promise((resolve) => setImmediate(resolve));
  // The socket's buffers fill, and then nothing more is made.
  let before = -1;
  while (before !== count.made) {
    before = count.made;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(count.made < 1000, `${count.made} lines of 100 kB are made for a watcher that does not read`);
  reader.destroy();
  await stream.ended;
});

test('a watcher that does not read is cut off', async (t) => {
  const { stream, reader } = await pair(t, [], 1_000_000);
  reader.on('error', () => {});
  for (let n = 0; n < 11; n++) stream.push(line(n, 100_000));
  await stream.ended;
});
