import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { test, type TestContext } from 'node:test';
import { silentLog } from '../lib/log.ts';
import { type Answer, createChain, failure, type Next } from './chain.ts';
import { forward } from './forward.ts';
import { decodeMessage, encodeMessage, RCODE } from './message.ts';
import { TYPE } from './record.ts';
import { createDnsServer } from './server.ts';

/** A server on the loopback. */
async function upstream(t: TestContext, handler: Next): Promise<number> {
  const stop = new AbortController();
  const probe = createSocket('udp4').bind(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  // By UDP and TCP at one port: it tries until it has both.
  const server = createDnsServer({ addresses: ['127.0.0.1'], port, handler, log: silentLog });
  const running = server.run(stop.signal);
  t.after(() => {
    stop.abort();
    return running;
  });
  await server.ready();
  return port;
}

/** A UDP socket on the loopback, at whose port `tcp` listens too. */
async function atOnePort(tcp: Server): Promise<Socket> {
  for (;;) {
    const udp = createSocket('udp4').bind(0, '127.0.0.1');
    await once(udp, 'listening');
    try {
      await once(tcp.listen(udp.address().port, '127.0.0.1'), 'listening');
      return udp;
    } catch {
      udp.close();
    }
  }
}

const answerOf = (answers: Answer['answers']): Answer => ({ ...failure(RCODE.NOERROR), answers });
const query = (name: string, type: number) =>
  ({ name, type, class: 1, transport: 'udp', client: '10.9.1.2' }) as const;

test('what nobody here knows is asked of others: by TCP where it is long, of the next where one fails', async (t) => {
  const long = Array.from({ length: 40 }, (_, i) => Buffer.from(`${'x'.repeat(100)}${i}`));
  const asked: string[] = [];
  const port = await upstream(t, ({ name, transport }) => {
    asked.push(`${name} ${transport}`);
    if (name === 'none.test') return failure(RCODE.NXDOMAIN);
    if (name === 'long.test') return answerOf([{ name, type: 'TXT', ttl: 9, texts: long }]);
    return answerOf([{ name, type: 'A', ttl: 9, address: Uint8Array.of(192, 0, 2, 1) }]);
  });
  // Nobody listens at the first.
  const ask = createChain([forward({ servers: ['127.0.0.9', '127.0.0.1'], port, timeoutMs: 60_000 })]);
  const short = await ask(query('short.test', TYPE.A));
  assert.deepEqual([short.rcode, short.recursive, short.answers.length], [RCODE.NOERROR, true, 1]);
  const { answers } = await ask(query('long.test', TYPE.TXT));
  assert.ok(answers[0]?.type === 'TXT' && answers[0].texts.length === 40);
  assert.equal((await ask(query('none.test', TYPE.A))).rcode, RCODE.NXDOMAIN);
  assert.deepEqual(asked, ['short.test udp', 'long.test udp', 'long.test tcp', 'none.test udp']);
});

test('where no server is known all is refused, where none answers it fails', async (t) => {
  const none = createChain([forward({ servers: [] })]);
  assert.equal((await none(query('a.test', TYPE.A))).rcode, RCODE.REFUSED);
  const port = await upstream(t, () => failure(RCODE.SERVFAIL));
  const failing = createChain([forward({ servers: ['127.0.0.1'], port, timeoutMs: 60_000 })]);
  assert.equal((await failing(query('a.test', TYPE.A))).rcode, RCODE.SERVFAIL);
});

test('an answer to something else is not taken', async (t) => {
  const liar = createSocket('udp4').bind(0, '127.0.0.1');
  t.after(() => liar.close());
  await once(liar, 'listening');
  liar.on('message', (data, { port, address }) => {
    const wrong = Buffer.from(data);
    wrong[2] = 0x80;
    wrong.writeUInt16BE(data.readUInt16BE(0) ^ 1, 0);
    liar.send(wrong, port, address);
    const question = Buffer.from(data);
    question[2] = 0x80;
    question[13] = 'z'.charCodeAt(0);
    liar.send(question, port, address);
    liar.send('x', port, address);
  });
  const ask = createChain([forward({ servers: ['127.0.0.1'], port: liar.address().port, timeoutMs: 300 })]);
  assert.equal((await ask(query('a.test', TYPE.A))).rcode, RCODE.SERVFAIL);
});

test('a server that takes the end of the question for a client that is gone is not ended before it has answered', async (t) => {
  const tcp = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('end', () => socket.destroy()).on('error', () => {});
    socket.once('data', (data: Buffer) => {
      const asked = decodeMessage(data.subarray(2));
      const answers = [{ name: 'a.test', type: 'TXT', ttl: 9, texts: [Buffer.from('whole')] }] as const;
      const bytes = encodeMessage({ ...asked, response: true, answers });
      const head = Buffer.alloc(2);
      head.writeUInt16BE(bytes.length);
      // It takes its time, so that an end would be seen.
      setTimeout(() => socket.destroyed || socket.write(Buffer.concat([head, bytes])), 50);
    });
  });
  const cut = await atOnePort(tcp);
  t.after(() => {
    cut.close();
    tcp.close();
  });
  cut.on('message', (data, { port, address }) => {
    const asked = decodeMessage(data);
    cut.send(encodeMessage({ ...asked, response: true, truncated: true }), port, address);
  });
  const { port } = cut.address();
  const ask = createChain([forward({ servers: ['127.0.0.1'], port, timeoutMs: 60_000 })]);
  const { rcode, answers } = await ask(query('a.test', TYPE.TXT));
  assert.deepEqual([rcode, answers.length], [RCODE.NOERROR, 1]);
});

test('who asks much that nobody answers fails alone', async (t) => {
  const held = Promise.withResolvers<Answer>();
  const port = await upstream(t, ({ name }) => (name === 'slow.test' ? held.promise : answerOf([])));
  const ask = createChain([forward({ servers: ['127.0.0.1'], port, timeoutMs: 60_000, perClient: 3 })]);
  const slow = Array.from({ length: 3 }, () => ask(query('slow.test', TYPE.A)));
  assert.equal((await ask(query('a.test', TYPE.A))).rcode, RCODE.SERVFAIL);
  assert.equal((await ask({ ...query('a.test', TYPE.A), client: '10.9.1.3' })).rcode, RCODE.NOERROR);
  held.resolve(answerOf([]));
  for (const each of slow) assert.equal((await each).rcode, RCODE.NOERROR);
  assert.equal((await ask(query('a.test', TYPE.A))).rcode, RCODE.NOERROR);
});
