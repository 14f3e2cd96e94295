import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createConflist } from '../conflist.ts';
import { type Host, isCutOff, peerSeen, ROOT, testHost } from '../testing/host.ts';
import type { NetConf } from '../types.ts';

const it = (name: string, fn: (t: TestContext) => Promise<void>) => test(name, { skip: needsRoot }, fn);

/** Debian's reference plugins. */
const REFERENCE = '/usr/lib/cni';

const runner = (host: Host, cniVersion: string, plugins: NetConf[]) =>
  createConflist({
    list: { cniVersion, name: 'test', plugins },
    path: [REFERENCE, join(ROOT, 'build')],
    cacheDir: join(host.folder, 'cache'),
    netns: host.ns,
    env: { HEDDLE_CNI_SOCKET: host.socket },
  });

/** Rules of others: their chains stay, whoever's plugin comes before them. */
const ours = (host: Host): string[] =>
  host.inventory().filter((line) => /^(link|address|route|neighbour|book|elements)/.test(line));

const conf = (netns: string) => ({
  containerId: 'one',
  ifName: 'eth0',
  netns,
  capabilities: {
    portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
    bandwidth: { ingressRate: 1e9, ingressBurst: 8e6, egressRate: 1e9, egressBurst: 8e6 },
  },
});

for (const version of ['0.3.1', '0.4.0', '1.0.0'])
  it(`tuning, bandwidth, portmap and firewall of others work after ours, by version ${version}`, async (t) => {
    const host = await testHost(t);
    await host.startAgent();
    const before = ours(host);
    const one = host.container('one');
    const portmap: NetConf = { type: 'portmap', capabilities: { portMappings: true } };
    const others: NetConf[] = [
      { type: 'heddle-cni' },
      { type: 'tuning', sysctl: { 'net.ipv4.ip_default_ttl': '33' } },
      { type: 'bandwidth', capabilities: { bandwidth: true } },
      // Knows nothing older than 0.4.0.
      ...(version === '0.3.1' ? [] : [{ type: 'firewall', backend: 'iptables' }]),
    ];
    const list = runner(host, version, [...others, portmap]);
    const result = await list.add(conf(one.path));
    assert.equal(result.cniVersion, version);
    assert.deepEqual(
      result.ips?.map((ip) => 'version' in ip),
      version === '1.0.0' ? [false, false] : [true, true],
    );
    assert.equal(
      await peerSeen({ from: host.outside, to: one, address: '192.0.2.1', port: 8080, listen: 80 }),
      '192.0.2.2',
    );
    // The reference portmap looks for rules of IPv4 in the table of IPv6 when a container has both.
    await runner(host, version, others).check(conf(one.path));
    await list.del(conf(one.path));
    assert.deepEqual(ours(host), before);
    await list.del(conf(''));
  });

it('ours after a bridge gives ports and limits to its interface, and takes them back', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const one = host.container('one');
  const bridge: NetConf = {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipam: {
      type: 'host-local',
      dataDir: join(host.folder, 'host-local'),
      ranges: [[{ subnet: '10.8.0.0/24' }], [{ subnet: 'fd00:8::/64' }]],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  };
  // The bridge itself stays once it is made.
  const plain = runner(host, '1.0.0', [bridge]);
  await plain.add(conf(one.path));
  await plain.del(conf(one.path));
  const before = ours(host);
  const list = runner(host, '1.0.0', [
    bridge,
    { type: 'heddle-cni', capabilities: { portMappings: true, bandwidth: true } },
  ]);
  const result = await list.add(conf(one.path));
  assert.equal(result.interfaces?.length, 3, 'handed on as the bridge said it');
  const at = (address: string) => peerSeen({ from: host.outside, to: one, address, port: 8080, listen: 80 });
  assert.equal(await at('192.0.2.1'), '192.0.2.2');
  const veth = result.interfaces?.find(({ name, sandbox }) => !sandbox && name !== 'cni0')?.name ?? '';
  assert.match((await host.run(['tc', 'qdisc', 'show', 'dev', veth])).stdout, /tbf 48: root .*rate 1Gbit/);
  await list.check(conf(one.path));
  await host.stopAgent('SIGKILL');
  await host.startAgent();
  assert.equal(await at('192.0.2.1'), '192.0.2.2', 'the next agent keeps it');
  await list.check(conf(one.path));
  await list.del(conf(one.path));
  assert.deepEqual(ours(host), before);
  assert.ok(await isCutOff(host.outside, '192.0.2.1', 8080));
});

it('what was for the plugin that makes the interface to decide is refused after it', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const one = host.container('one');
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'eth0', sandbox: one.path }],
    ips: [{ address: '10.8.0.2/24', interface: 0 }],
  };
  const refusal = async (config: object) => {
    const { out } = await host.cni('ADD', 'one', { cniVersion: '1.0.0', ...config });
    return `${out?.code} ${out?.msg}`;
  };
  assert.match(
    await refusal({ prevResult, runtimeConfig: { ips: ['10.9.1.9'] } }),
    /^2 ips .*comes too late/,
  );
  assert.match(
    await refusal({ prevResult }),
    /^7 prevResult names the interface eth0, which is not in the container/,
  );
  assert.match(await refusal({ prevResult: 5 }), /^6 prevResult is not an object/);
  assert.match(await refusal({ prevResult: { ips: [{}] } }), /^6 prevResult has ips without an address/);
  assert.deepEqual(
    host.inventory().filter((line) => line.startsWith('book')),
    [],
  );
});

it('a list of version 1.1.0 has its STATUS asked and its leftovers collected', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const before = host.inventory();
  const list = runner(host, '1.1.0', [{ type: 'heddle-cni' }]);
  for (const id of ['one', 'two', 'three']) {
    const { path } = host.container(id);
    await list.add({ containerId: id, ifName: 'eth0', netns: path });
  }

  await list.status();

  await list.gc([{ containerId: 'two', ifName: 'eth0' }]);

  assert.deepEqual(
    (await list.list()).map(({ containerId }) => containerId),
    ['two'],
  );
  await list.gc([]);
  assert.deepEqual(host.inventory(), before);
});
