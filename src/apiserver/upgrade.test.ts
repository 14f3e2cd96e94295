import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { startHarness } from './testing/harness.ts';

const sockets = () => process.getActiveResourcesInfo().filter((one) => one === 'TCPSocketWrap').length;

test('who is refused an upgrade and says more leaves nothing behind when it goes', async (t) => {
  const api = await startHarness();
  t.after(() => api.close());
  const before = sockets();
  for (let i = 0; i < 3; i++) {
    const client = connect({ port: api.port, host: '127.0.0.1', ca: api.authority.ca });
    client.on('error', () => {});
    client.write(
      'GET /api/v1/namespaces/default/pods/web/exec HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n',
    );
    const [answer] = (await once(client, 'data')) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 403 /);
    // Whether it comes before the server's end or after it, nobody is left to read it.
    await new Promise((resolve) => client.write('more', resolve));
    client.destroy();
  }
  for (let round = 0; sockets() > before; round++) {
    assert.ok(round < 6000, `${sockets() - before} connections are still there`);
    await sleep(10);
  }
});

test('the server closes though one that it refused stays', async () => {
  const api = await startHarness();
  const client = connect({ port: api.port, host: '127.0.0.1', ca: api.authority.ca });
  client.on('error', () => {});
  client.write('GET /api HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
  await once(client, 'data');
  // It does not hear that it is to go.
  client.pause();
  await new Promise((resolve) => client.write('more', resolve));
  await api.close();
  client.destroy();
});
