import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openRoute } from '../../kernel/route.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { hostInterfaceName } from '../names.ts';
import { addressesOf, isCutOff, peerSeen, testHost } from '../testing/host.ts';

const it = (name: string, fn: (t: TestContext) => Promise<void>) => test(name, { skip: needsRoot }, fn);

it('containers of a standalone agent reach each other, the machine and the outside, and DEL leaves nothing', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const before = host.inventory();
  const [one, two] = [host.container('one'), host.container('two')];
  const first = await host.cni('ADD', 'one');
  const second = await host.cni('ADD', 'two');
  assert.deepEqual([first.code, second.code], [0, 0], JSON.stringify([first.out, second.out]));
  for (const [index, address] of addressesOf(second.out).entries()) {
    const own = addressesOf(first.out)[index];
    assert.equal(await peerSeen({ from: one, to: two, address, port: 80 }), own, 'container to container');
    const node = ['192.0.2.1', '2001:db8::1'][index] ?? '';
    assert.equal(await peerSeen({ from: host.ns, to: two, address, port: 80 }), node, 'machine to container');
    const outside = ['192.0.2.2', '2001:db8::2'][index] ?? '';
    assert.equal(
      await peerSeen({ from: one, to: host.outside, address: outside, port: 80 }),
      node,
      'container to the outside, masqueraded',
    );
  }
  for (const id of ['one', 'two']) assert.equal((await host.cni('DEL', id)).code, 0);
  assert.deepEqual(host.inventory(), before);
  for (const id of ['one', 'two', 'never'])
    assert.equal((await host.cni('DEL', id, {}, { CNI_NETNS: '' })).code, 0);
});

it('containers go on without the agent, and the next agent takes them over', async (t) => {
  const host = await testHost(t, { masquerade: false });
  await host.startAgent();
  const one = host.container('one');
  const { out } = await host.cni('ADD', 'one');
  const during = host.inventory();
  await host.stopAgent('SIGKILL');
  assert.deepEqual(host.inventory(), during);
  const [address = ''] = addressesOf(out);
  assert.equal(await peerSeen({ from: host.ns, to: one, address, port: 80 }), '192.0.2.1');
  await host.startAgent();
  assert.deepEqual(host.inventory(), during, 'nothing is made twice, nothing is lost');
  assert.equal((await host.cni('CHECK', 'one', { prevResult: out })).code, 0);
  assert.equal((await host.cni('ADD', 'two', {}, { CNI_NETNS: host.container('two').path })).code, 0);
  assert.equal((await host.cni('DEL', 'one')).code, 0);
});

it('a container sends with its own addresses only', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const one = host.container('one');
  await host.cni('ADD', 'one');
  const route = openRoute(one);
  route.replaceAddress('eth0', '10.9.1.77/32');
  route.replaceRoute({
    dst: '192.0.2.2/32',
    via: '169.254.1.1',
    dev: 'eth0',
    onlink: true,
    src: '10.9.1.77',
  });
  route.close();
  assert.ok(await isCutOff(one, '192.0.2.2', 80));
  const { stdout } = await host.run(['nft', 'list', 'chain', 'inet', 'heddle-cni', 'origin']);
  assert.match(stdout, /ipv4 fib saddr \. iif oif missing counter packets [1-9]/);
});

it('a second agent with the same state is refused, and a missing node address is named', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const heddle = (...argv: string[]) =>
    host.run([process.execPath, join(import.meta.dirname, '../../app/heddle.ts'), ...argv]);
  const second = await heddle('agent', '--standalone', host.configFile);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /another agent runs with the state in .*AgentBusy/);
  await host.stopAgent();
  const text = fs.readFileSync(host.configFile, 'utf8').replace('192.0.2.1', '192.0.2.99');
  fs.writeFileSync(host.configFile, text);
  const missing = await heddle('agent', '--standalone', host.configFile);
  assert.match(missing.stderr, /192\.0\.2\.99, which no link of this machine has/);
});

it('a second agent in the same network namespace is refused, and takes nothing away from the first', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const one = host.container('one');
  const { out } = await host.cni('ADD', 'one');
  const before = host.inventory();
  const other = join(host.folder, 'other.yaml');
  const text = fs
    .readFileSync(host.configFile, 'utf8')
    .replaceAll(host.folder, join(host.folder, 'other'))
    .replace('10.9.1.0/24', '10.9.2.0/24')
    .replace('fd00:9:1::/64', 'fd00:9:2::/64');
  fs.writeFileSync(other, text);
  const heddle = join(import.meta.dirname, '../../app/heddle.ts');
  const second = await host.run([process.execPath, heddle, 'agent', '--standalone', other]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /another agent serves containers in this network namespace.*AgentBusy/);
  assert.deepEqual(host.inventory(), before);
  const [address = ''] = addressesOf(out);
  assert.equal(await peerSeen({ from: host.ns, to: one, address, port: 80 }), '192.0.2.1');
});

it('what an agent was in the middle of is taken back by the next', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const before = host.inventory();
  host.container('half');
  await host.cni('ADD', 'half');
  await host.stopAgent('SIGKILL');
  // As if it had been killed before the end of ADD.
  const route = openRoute(host.ns);
  const name = hostInterfaceName({ containerId: 'half', ifName: 'eth0' });
  route.setLink(name, { alias: 'heddle:new:none/half:half' });
  route.close();
  await host.startAgent();
  assert.deepEqual(host.inventory(), before);
});

it('a full range is code 101 and names its biggest users; an address that rests is given before that', async (t) => {
  const host = await testHost(t, { podRanges: ['10.9.1.0/29'], nodeAddresses: [] });
  await host.startAgent();
  const add = (id: string) => {
    host.container(id);
    return host.cni(
      'ADD',
      id,
      {},
      { CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-${id}` },
    );
  };
  const made = [];
  for (const id of ['0', '1', '2', '3', '4']) made.push((await add(id)).code);
  assert.deepEqual(made, [0, 0, 0, 0, 0]);
  const { code, out } = await add('5');
  assert.equal(out?.code, 101, `${code} ${JSON.stringify(out)}`);
  assert.match(out.msg, /10\.9\.1\.0\/29\): all 5 are taken, most by shop\/web \(5\)/);
  assert.equal((await host.cni('DEL', '3')).code, 0);
  assert.equal((await host.cni('ADD', '5')).code, 0);
});
