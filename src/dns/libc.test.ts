/** A C library's resolver in a namespace of its own, with the resolv.conf that a pod gets. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Pod } from '../api/types.ts';
import { openRoute } from '../kernel/route.ts';
import { run, spawnIn } from '../kernel/spawn.ts';
import { needsRoot, testFolder, testNetns } from '../kernel/test-netns.ts';
import { formatResolvConf, resolvConfOf } from './resolv-conf.ts';

const here = (file: string) => JSON.stringify(new URL(file, import.meta.url).pathname);

/** Serves `web` and, headless, `db` of namespace `shop` at the cluster's DNS addresses. */
const serve = `
import { createNodeDns } from ${here('node-dns.ts')};
import { createRecords } from ${here('records.ts')};
import { createDnsServer } from ${here('server.ts')};
import { createLog } from ${here('../lib/log.ts')};
const addresses = ['10.96.0.10', 'fd00:10:96::a'];
const log = createLog({ write: () => process.send('waiting') });
const records = createRecords();
const service = (name, spec) => ({ metadata: { name, namespace: 'shop' }, spec });
records.setService(service('web', { clusterIP: '10.96.0.20', clusterIPs: ['10.96.0.20', 'fd00:10:96::20'] }));
records.setService(service('db', { clusterIP: 'None' }));
records.setSlices('shop/db', [{ metadata: {}, addressType: 'IPv4', endpoints: [{ addresses: ['10.244.1.5'], hostname: 'db-0' }] }]);
records.synced();
const server = createDnsServer({ addresses, handler: createNodeDns({ records, addresses, ranges: [], log }), log });
server.run(AbortSignal.timeout(600000));
server.ready().then(() => process.send('ready'));
process.on('disconnect', () => process.exit());
`;

const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'shop' } } as Pod;

test('the C library finds services by every way of writing them, once the addresses are there', {
  skip: needsRoot,
}, async (t) => {
  const ns = testNetns(t);
  const conf = join(testFolder(t), 'resolv.conf');
  const nameservers = ['10.96.0.10', 'fd00:10:96::a'];
  fs.writeFileSync(
    conf,
    formatResolvConf(resolvConfOf(pod, { nameservers, clusterDomain: 'cluster.local' })),
  );

  const argv = [process.execPath, '--input-type=module', '-e', serve];
  const server = spawnIn({ argv, netns: ns, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  t.after(() => server.kill());
  // Two messages may come at once: nothing may be between them and who hears them.
  const said = { waiting: Promise.withResolvers<void>(), ready: Promise.withResolvers<void>() };
  server.on('message', (word: keyof typeof said) => said[word].resolve());
  server.once('exit', (code) => said.ready.reject(new Error(`the server ended with ${code}`)));
  await Promise.race([said.waiting.promise, said.ready.promise]);
  const route = openRoute(ns);
  for (const address of ['10.96.0.10/32', 'fd00:10:96::a/128'])
    route.replaceAddress('lo', address, { nodad: true });
  // The C library leaves out families that this machine has no address of.
  for (const address of ['10.244.0.1/32', 'fd00:10:244::1/128'])
    route.replaceAddress('lo', address, { nodad: true });
  route.close();
  await said.ready.promise;

  const resolve = async (database: string, name: string) => {
    const command = `mount --bind ${conf} /etc/resolv.conf && exec getent ${database} ${name}`;
    const { code, stdout } = await run(['unshare', '-m', 'sh', '-c', command], { netns: ns });
    return code === 0 ? stdout.split(/\s/)[0] : `code ${code}`;
  };
  for (const name of [
    'web',
    'web.shop',
    'web.shop.svc',
    'web.shop.svc.cluster.local',
    'WEB.shop.svc.cluster.local.',
  ]) {
    assert.equal(await resolve('ahostsv4', name), '10.96.0.20', name);
    assert.equal(await resolve('ahostsv6', name), 'fd00:10:96::20', name);
  }
  assert.equal(await resolve('ahostsv4', 'db-0.db'), '10.244.1.5');
  assert.equal(await resolve('ahostsv4', 'nope.shop'), 'code 2');
});
