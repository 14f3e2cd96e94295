import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { decodeMessage, encodeMessage } from '../../dns/message.ts';
import { TYPE } from '../../dns/record.ts';
import { bindUdp } from '../../kernel/sockets.ts';
import { needsRoot, testNetns } from '../../kernel/test-netns.ts';
import { probe } from './connect.ts';

test('what a name took is not taken from the connection: a slow name server is no verdict', {
  skip: needsRoot,
}, async (t) => {
  const ns = testNetns(t);
  let now = 0;
  const server = createSocket('udp4');
  t.after(() => server.close());
  server.on('message', (bytes, { address, port }) => {
    now += 900;
    const asked = decodeMessage(bytes);
    const [question] = asked.questions;
    assert.ok(question);
    const { name, type } = question;
    const answer = { name, type: 'A', ttl: 5, address: Uint8Array.of(10, 96, 0, 7) } as const;
    const answers = type === TYPE.A ? [answer] : [];
    server.send(encodeMessage({ ...asked, response: true, answers }), port, address);
  });
  const listening = once(server, 'listening');
  server.bind({ fd: bindUdp(ns, '127.0.0.1', 53) });
  await listening;

  const tried: { host: string; timeoutMs: number }[] = [];
  const result = await probe(
    { host: 'gateway.payments', port: 443, kind: 'tcp', family: 4, timeoutMs: 1000 },
    {
      resolv: { nameservers: ['127.0.0.1'], search: [], ndots: 1 },
      addressOf: () => '10.244.0.2',
      nextPort: () => 40_000,
      connectTcp: ({ host, timeoutMs }) => {
        tried.push({ host, timeoutMs });
        return Promise.reject(new Error('ECONNREFUSED by the test'));
      },
      bindUdp: (_family, port) => bindUdp(ns, '0.0.0.0', port),
      now: () => now,
    },
  );
  assert.match(result.error ?? '', /by the test/);
  assert.deepEqual(tried, [{ host: '10.96.0.7', timeoutMs: 1000 }]);
});
