import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { openRoute } from '../../kernel/route.ts';
import { deepOnly } from '../../../test/scenarios/deep-only.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { addressesOf, testHost, until } from '../testing/host.ts';

const it = (name: string, fn: (t: TestContext) => Promise<void>) => test(name, { skip: needsRoot }, fn);

/** busybox's udhcpd on the far side of the machine's uplink. */
const serverFile = (leases: string, more = '') => `
start 192.0.2.100
end 192.0.2.101
interface up0
lease_file ${leases}
min_lease 2
${more}
option subnet 255.255.255.0
option router 192.0.2.2
option dns 192.0.2.53
option domain lan.test
option search lan.test sub.lan.test
option staticroutes 198.51.100.0/24 192.0.2.2, 0.0.0.0/0 192.0.2.2
`;

const config = {
  type: 'heddle-macvlan',
  master: 'up0',
  runtimeConfig: { mac: '02:00:00:00:00:01' },
  ipam: { type: 'dhcp', request: [{ option: 'domain-search' }], provide: [{ option: '12', value: 'one' }] },
};

async function withServer(t: TestContext) {
  const host = await testHost(t);
  const before = host.inventory();
  const leases = `${host.folder}/leases`;
  const log = `${host.folder}/udhcpd.log`;
  fs.writeFileSync(leases, '');
  let stop = async () => {};
  t.after(() => stop());
  const serve = (more: string) => {
    const file = `${host.folder}/udhcpd.conf`;
    fs.writeFileSync(file, serverFile(leases, more));
    const server = host.startOutside(['busybox', 'udhcpd', '-f', file], log);
    stop = async () => {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      if (server.kill('SIGKILL')) await ended;
    };
  };
  await host.startAgent();
  return {
    host,
    one: host.container('one'),
    serve,
    stop: () => stop(),
    words: () => fs.readFileSync(log, 'utf8'),
    async end() {
      await host.stopAgent();
      const { leases: kept } = JSON.parse(fs.readFileSync(`${host.folder}/state/dhcp.json`, 'utf8'));
      assert.deepEqual(kept, []);
      await host.run(['nft', 'delete', 'table', 'inet', 'heddle-cni']);
      assert.deepEqual(host.inventory(), before);
    },
  };
}

it('a DHCP server gives a macvlan link its address, DNS and routes, and gets it back', async (t) => {
  const { host, serve, end } = await withServer(t);
  serve('option lease 600');
  const { code, out } = await host.cni('ADD', 'one', config);
  assert.equal(code, 0, JSON.stringify(out));
  assert.match(addressesOf(out)[0] ?? '', /^192\.0\.2\.10[01]$/);
  assert.deepEqual(out?.dns, {
    nameservers: ['192.0.2.53'],
    domain: 'lan.test',
    search: ['lan.test', 'sub.lan.test'],
  });
  assert.deepEqual(out?.routes, [
    { dst: '198.51.100.0/24', gw: '192.0.2.2' },
    { dst: '0.0.0.0/0', gw: '192.0.2.2' },
  ]);
  assert.equal((await host.cni('CHECK', 'one', { ...config, prevResult: out })).code, 0);
  assert.equal((await host.cni('DEL', 'one', config)).code, 0);
  await end();
});

test('a DHCP lease is renewed through restarts of the agent, lost and regained', {
  skip: needsRoot || deepOnly('its times are seconds'),
}, async (t) => {
  const { host, one, serve, stop, words, end } = await withServer(t);
  serve('option lease 6');
  const { code, out } = await host.cni('ADD', 'one', config);
  assert.equal(code, 0, JSON.stringify(out));
  const has = () => {
    const route = openRoute(one);
    try {
      return route.addresses().some((each) => each.address === `${addressesOf(out)[0]}/24`);
    } finally {
      route.close();
    }
  };
  const acks = () => words().split('sending ACK').length;
  const told = acks();
  await until('a renewal', () => acks() > told);
  await host.stopAgent('SIGKILL');
  await host.startAgent();
  const after = acks();
  await until('a renewal by the next agent', () => acks() > after);
  assert.equal((await host.cni('CHECK', 'one', { ...config, prevResult: out })).code, 0);
  await stop();
  await until('the lease to end', () => !has());
  const lost = await host.cni('CHECK', 'one', { ...config, prevResult: out });
  assert.match(lost.out?.msg ?? '', /the DHCP lease of 192\.0\.2\.10\d is lost/);
  serve('option lease 600');
  await until('the same address again', has);
  assert.equal((await host.cni('DEL', 'one', config)).code, 0);
  await end();
});
