import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { type PkiInput, ensurePki, serverNames } from './ensure-pki.ts';
import { pkiFiles } from './pki.ts';

const day = 86_400_000;

function setUp(t: TestContext, now = Date.now()): { input: PkiInput; read: (path: string) => string } {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-pki-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const input: PkiInput = {
    dir: join(dir, 'pki'),
    clusterId: '00c0ffee',
    nodes: ['node-1', 'node-2'],
    apiServer: { addresses: ['10.240.0.253', 'fd00:10:240::fd'], port: 6443 },
    serverNames: serverNames('cluster.local', ['10.96.0.1', 'fd00:10:96::1']),
    people: { path: join(dir, 'kubeconfig'), port: 7443 },
    now: () => now,
  };
  return { input, read: (path) => readFileSync(path, 'utf8') };
}

test('every file is closed to others', async (t) => {
  const { input } = setUp(t);
  await ensurePki(input);
  const files = readdirSync(input.dir).map((name) => join(input.dir, name));
  assert.equal(files.length, 4 + 1 + 3 * 4);
  for (const path of [...files, input.people.path]) assert.equal(statSync(path).mode & 0o777, 0o600, path);
  assert.equal(statSync(input.dir).mode & 0o777, 0o700);
});

test('a server and a client of the cluster trust each other by name and address', async (t) => {
  const { input, read } = setUp(t);
  await ensurePki(input);
  const files = pkiFiles(input.dir);
  const server = createServer(
    {
      key: read(files.apiServer.key),
      cert: read(files.apiServer.cert),
      ca: read(files.ca.cert),
      requestCert: true,
      rejectUnauthorized: true,
    },
    (req, res) => res.end(JSON.stringify((req.socket as TLSSocket).getPeerCertificate().subject)),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const ask = (servername: string, client: { cert: string; key: string }) =>
    new Promise<string>((resolve, reject) => {
      const { port } = server.address() as AddressInfo;
      const call = request(
        {
          host: '127.0.0.1',
          port,
          servername,
          ca: read(files.ca.cert),
          cert: read(client.cert),
          key: read(client.key),
          agent: false,
        },
        (res) => res.setEncoding('utf8').on('data', resolve),
      );
      call.on('error', reject).end();
    });
  const subject = JSON.parse(await ask('kubernetes.default.svc', files.node('node-2')));
  assert.equal(subject.CN, 'system:node:node-2');
  assert.deepEqual(
    [...subject.O].toSorted((a, b) => a.localeCompare(b)),
    ['heddle:components', 'system:nodes'],
  );
  assert.deepEqual(JSON.parse(await ask('localhost', files.admin)).O, 'system:masters');
  await assert.rejects(ask('example.com', files.admin), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  const leaf = new X509Certificate(read(files.apiServer.cert));
  for (const address of ['127.0.0.1', '::1', '10.240.0.253', 'fd00:10:240::fd', '10.96.0.1', 'fd00:10:96::1'])
    assert.ok(leaf.checkIP(address), address);
});

test('a second call keeps every certificate', async (t) => {
  const { input, read } = setUp(t);
  await ensurePki(input);
  const before = readdirSync(input.dir).map((name) => read(join(input.dir, name)));
  await ensurePki(input);
  assert.deepEqual(
    readdirSync(input.dir).map((name) => read(join(input.dir, name))),
    before,
  );
});

test('certificates are renewed before they expire, the authority too', async (t) => {
  const { input, read } = setUp(t);
  const files = pkiFiles(input.dir);
  await ensurePki(input);
  const [ca, leaf] = [read(files.ca.cert), read(files.admin.cert)];
  const later = { ...input, now: () => Date.now() + 320 * day };
  await ensurePki(later);
  assert.equal(read(files.ca.cert), ca);
  assert.notEqual(read(files.admin.cert), leaf);
  await ensurePki({ ...input, now: () => Date.now() + 3400 * day });
  assert.notEqual(read(files.ca.cert), ca);
  const issuer = new X509Certificate(read(files.ca.cert));
  assert.ok(new X509Certificate(read(files.node('node-1').cert)).verify(issuer.publicKey));
});

test('another address of the control plane renews the server certificate alone', async (t) => {
  const { input, read } = setUp(t);
  const files = pkiFiles(input.dir);
  await ensurePki(input);
  const [server, admin] = [read(files.apiServer.cert), read(files.admin.cert)];
  await ensurePki({ ...input, apiServer: { addresses: ['10.9.0.2'], port: 6443 } });
  assert.notEqual(read(files.apiServer.cert), server);
  assert.equal(read(files.admin.cert), admin);
});

test('a damaged or mismatched key is replaced', async (t) => {
  const { input, read } = setUp(t);
  const files = pkiFiles(input.dir);
  await ensurePki(input);
  writeFileSync(files.admin.key, read(files.controllers.key));
  writeFileSync(files.controllers.cert, 'garbage');
  await ensurePki(input);
  const issuer = new X509Certificate(read(files.ca.cert));
  for (const { cert } of [files.admin, files.controllers])
    assert.ok(new X509Certificate(read(cert)).verify(issuer.publicKey));
});

test("the people's kubeconfig holds everything and points at the published port", async (t) => {
  const { input, read } = setUp(t);
  await ensurePki(input);
  const config = JSON.parse(read(input.people.path));
  assert.equal(config.clusters[0].cluster.server, 'https://127.0.0.1:7443');
  const pem = Buffer.from(config.users[0].user['client-certificate-data'], 'base64').toString();
  assert.match(new X509Certificate(pem).subject, /O=system:masters/);
});
