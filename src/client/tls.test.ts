import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:https';
import { type TestContext, test } from 'node:test';
import { createAuthority } from '../identity/ca.ts';
import { HeddleError } from '../lib/errors.ts';
import { createClient } from './client.ts';

async function setUp(t: TestContext, names: readonly string[]) {
  const authority = await createAuthority('test', Date.now());
  const own = await authority.issue({ commonName: 'server', usage: 'server', names });
  const user = await authority.issue({ commonName: 'robot', usage: 'client' });
  const server = createServer(
    { ...own, ca: authority.pair.cert, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      const { subject } = (
        request.socket as unknown as { getPeerCertificate(): { subject: { CN: string } } }
      ).getPeerCertificate();
      response.end(`${subject.CN} at ${request.headers.host}`);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, ca: authority.pair.cert, ...user };
}

async function ask(options: Parameters<typeof createClient>[0]): Promise<string> {
  const client = createClient(options);
  try {
    return (await client.request('GET', '/version')).text;
  } finally {
    client.close();
  }
}

test('both sides show their certificates', async (t) => {
  const { port, ca, cert, key } = await setUp(t, ['127.0.0.1']);
  assert.equal(
    await ask({ server: `https://127.0.0.1:${port}`, ca, cert, key }),
    `robot at 127.0.0.1:${port}`,
  );
});

test('the certificate is checked against the server’s name, whatever address is dialled', async (t) => {
  const { port, ca, cert, key } = await setUp(t, ['kubernetes.test']);
  const dialAddresses = [`127.0.0.1:${port}`];
  const keys = { ca, cert, key };
  const right = { server: 'https://kubernetes.test:6443', dialAddresses, ...keys };
  assert.equal(await ask(right), 'robot at kubernetes.test:6443');
  const renamed = { server: `https://127.0.0.1:${port}`, serverName: 'kubernetes.test', ...keys };
  assert.equal(await ask(renamed), `robot at 127.0.0.1:${port}`);
  const wrong = ask({ server: 'https://other.test:6443', dialAddresses, ...keys });
  await assert.rejects(wrong, (error: unknown) => {
    assert.ok(error instanceof HeddleError);
    assert.match(error.hint ?? '', /another name/);
    return true;
  });
});

test('a server of another authority is refused, in words, unless asked not to look', async (t) => {
  const { port, cert, key } = await setUp(t, ['127.0.0.1']);
  const { pair } = await createAuthority('other', Date.now());
  const server = `https://127.0.0.1:${port}`;
  await assert.rejects(ask({ server, ca: pair.cert, cert, key }), (error: unknown) => {
    assert.ok(error instanceof HeddleError);
    assert.equal(error.code, 'ApiUnreachable');
    assert.match(error.hint ?? '', /another cluster/);
    return true;
  });
  assert.match(await ask({ server, ca: pair.cert, cert, key, insecure: true }), /robot/);
});
