import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { portHolder } from './port-holder.ts';

for (const host of ['127.0.0.1', '::'])
  test(`who listens on a port of ${host} is found`, async (t) => {
    const server = createServer().listen(0, host);
    t.after(() => server.close());
    await once(server, 'listening');
    const address = server.address();
    assert.ok(address && typeof address === 'object');
    assert.equal(portHolder(address.port)?.pid, process.pid);
    assert.notEqual(portHolder(address.port)?.name, '');
  });

test('nobody is found on a port that nobody listens on', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address && typeof address === 'object');
  server.close();
  await once(server, 'close');
  assert.equal(portHolder(address.port), undefined);
});
