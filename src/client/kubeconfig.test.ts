import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { HeddleError } from '../lib/errors.ts';
import { loadKubeconfig } from './kubeconfig.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
const data = Buffer.from(PEM).toString('base64');

const yaml = `
apiVersion: v1
kind: Config
current-context: here
contexts:
- name: here
  context: {cluster: one, user: me, namespace: shop}
- name: there
  context: {cluster: two, user: token}
- name: lost
  context: {cluster: none}
- name: exec
  context: {cluster: two, user: plugin}
clusters:
- name: one
  cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: ${data}}
- name: two
  cluster: {server: "https://k8s.example:443/prefix", certificate-authority: ca.crt, tls-server-name: kubernetes}
users:
- name: me
  user: {client-certificate-data: ${data}, client-key-data: ${data}}
- name: token
  user: {tokenFile: token}
- name: plugin
  user: {exec: {command: aws}}
`;

function write(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-kubeconfig-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'ca.crt'), PEM);
  writeFileSync(join(folder, 'token'), 'secret\n');
  writeFileSync(join(folder, 'config'), text);
  return join(folder, 'config');
}

test('the current context is read, with its data', async (t) => {
  const config = await loadKubeconfig(write(t, yaml));
  assert.equal(config.context, 'here');
  assert.equal(config.namespace, 'shop');
  assert.equal(config.client.server, 'https://127.0.0.1:6443');
  assert.deepEqual([config.client.ca, config.client.cert, config.client.key], [PEM, PEM, PEM]);
});

test('another context is read by name, with files beside the kubeconfig', async (t) => {
  const config = await loadKubeconfig(write(t, yaml), 'there');
  assert.equal(config.namespace, 'default');
  assert.equal(config.client.ca, PEM);
  assert.equal(config.client.token, 'secret');
  assert.equal(config.client.serverName, 'kubernetes');
});

test('a kubeconfig may be JSON', async (t) => {
  const config = await loadKubeconfig(
    write(
      t,
      JSON.stringify({
        kind: 'Config',
        'current-context': 'a',
        contexts: [{ name: 'a', context: { cluster: 'a' } }],
        clusters: [{ name: 'a', cluster: { server: 'http://127.0.0.1:8001' } }],
      }),
    ),
  );
  assert.equal(config.client.server, 'http://127.0.0.1:8001');
});

for (const [what, text, context, message] of [
  ['no Config', 'kind: Pod', undefined, /is not of kind "Config"/],
  ['broken YAML', 'a: [', undefined, /neither YAML nor JSON/],
  ['an unknown context', yaml, 'nowhere', /no entry "nowhere" in contexts/],
  ['an unknown cluster', yaml, 'lost', /no entry "none" in clusters/],
  ['a plugin', yaml, 'exec', /uses "exec"/],
  ['no PEM', yaml.replace(data, 'AAAA'), undefined, /no PEM in base64/],
  ['a bad server', yaml.replace('https://127.0.0.1:6443', '127.0.0.1'), undefined, /not the URL/],
] as const)
  test(`a kubeconfig with ${what} is refused in words`, async (t) => {
    await assert.rejects(loadKubeconfig(write(t, text), context), (error: unknown) => {
      assert.ok(error instanceof HeddleError);
      assert.match(error.message, message);
      return true;
    });
  });

test('a kubeconfig that is not there says where it was looked for', async () => {
  await assert.rejects(loadKubeconfig('/nonexistent/kubeconfig'), (error: unknown) => {
    assert.ok(error instanceof HeddleError);
    assert.match(error.message, /\/nonexistent\/kubeconfig/);
    assert.match(error.hint ?? '', /is the cluster up/);
    return true;
  });
});
