import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { callSocket } from '../../lib/unix-http.ts';
import { withRoute } from '../main/inside.ts';
import { addressesOf, type Answer, type Host, peerSeen, testHost } from '../testing/host.ts';
import type { StandaloneStatus } from './status.ts';

const ports = (hostPort: number) => ({
  portMappings: [
    { hostPort, containerPort: 80 },
    { hostPort, containerPort: 80, protocol: 'udp', hostIP: '192.0.2.1' },
  ],
});

/** By name of the container: a list of entries. */
const ATTACHED: Readonly<Record<string, readonly object[]>> = {
  routed: [{ runtimeConfig: ports(8080) }],
  bridged: [{ type: 'heddle-bridge', isGateway: true, ipMasq: true, runtimeConfig: ports(8081) }],
  lent: [
    {
      type: 'heddle-bridge',
      bridge: 'lent0',
      isDefaultGateway: true,
      isGateway: true,
      ipam: { type: 'host-local', subnet: '10.7.0.0/24', dataDir: '' },
    },
    { type: 'heddle-portmap', runtimeConfig: ports(8082) },
    { type: 'heddle-firewall', backend: 'nftables' },
  ],
  paired: [{ type: 'heddle-ptp' }],
  beside: [{ type: 'heddle-macvlan', master: 'up0' }],
};

function listOf(host: Host, id: string): object[] {
  const dataDir = join(host.folder, 'host-local');
  const text = JSON.stringify(ATTACHED[id]);
  return JSON.parse(text.replace('"dataDir":""', `"dataDir":"${dataDir}"`)) as object[];
}

async function attachAll(host: Host) {
  const results = new Map<string, Answer>();
  const containers = new Map<string, Netns>();
  for (const id of Object.keys(ATTACHED)) {
    containers.set(id, host.container(id));
    for (const config of listOf(host, id)) {
      const prevResult = results.get(id);
      const { code, out } = await host.cni('ADD', id, { ...config, ...(prevResult ? { prevResult } : {}) });
      assert.equal(code, 0, `${id}: ${JSON.stringify(out)}`);
      if (out) results.set(id, out);
    }
  }
  return { results, containers };
}

const withoutBook = (host: Host) => host.inventory().filter((line) => !line.startsWith('book '));

/** What is damaged in such a way that nothing can be read. */
function damage(host: Host, how: (file: string) => void): void {
  for (const name of ['ipam.json', 'dhcp.json', 'dns-addresses.json']) how(join(host.folder, 'state', name));
}

test('a lost or damaged address book is written again from the kernel: containers keep their network, and can go', {
  skip: needsRoot,
}, async (t) => {
  const host = await testHost(t, { dns: { domain: 'dns.test', servers: [] } });
  fs.mkdirSync(join(host.folder, 'host-local'));
  await host.startAgent();
  await host.run([
    'nft',
    'add table inet own; add chain inet own fwd { type filter hook forward priority 0; }',
  ]);
  const before = withoutBook(host);
  const rules = (await host.run(['nft', 'list', 'table', 'inet', 'own'])).stdout;
  const { results, containers } = await attachAll(host);
  const during = withoutBook(host);
  const there = new Set([...results.values()].flatMap(addressesOf));
  for (const [step, how] of [
    (file: string) => fs.rmSync(file, { force: true }),
    (file: string) => fs.writeFileSync(file, '{"version":1,"allocations":[{"key'),
  ].entries()) {
    await host.stopAgent('SIGKILL');
    damage(host, how);
    await host.startAgent();
    assert.deepEqual(withoutBook(host), during, 'nothing is taken away, nothing is made twice');
    const { repairs } = await callSocket<StandaloneStatus>({ socketPath: host.socket, path: '/status' });
    for (const id of Object.keys(ATTACHED))
      assert.ok(
        repairs.some((line) => line.includes(`lost ${id}/eth0 of none/${id}`)),
        `${id}: ${repairs.join('; ')}`,
      );
    for (const id of ['routed', 'bridged', 'paired', 'beside']) {
      const { code, out } = await host.cni('CHECK', id, {
        ...listOf(host, id)[0],
        prevResult: results.get(id),
      });
      assert.equal(code, 0, `${id}: ${JSON.stringify(out)}`);
    }
    const fresh = `fresh${step}`;
    host.container(fresh);
    const { out } = await host.cni('ADD', fresh);
    for (const address of addressesOf(out)) assert.ok(!there.has(address), `${address} is given twice`);
    assert.equal((await host.cni('DEL', fresh)).code, 0);
  }
  const kept = fs.readdirSync(join(host.folder, 'state')).filter((name) => name.includes('.damaged-'));
  assert.equal(kept.length, 3, kept.join());
  // Of the network that it is asked about: who is valid stays, those of others too.
  const valid = Object.keys(ATTACHED).map((containerID) => ({ containerID, ifname: 'eth0' }));
  for (const [name, list] of [
    ['test', valid],
    ['another', []],
  ] as const)
    assert.equal((await host.cni('GC', '', { name, 'cni.dev/valid-attachments': list })).code, 0);
  assert.deepEqual(withoutBook(host), during);
  for (const [id, port] of [
    ['routed', 8080],
    ['lent', 8082],
  ] as const)
    assert.equal(
      await peerSeen({
        from: host.outside,
        to: containers.get(id) ?? host.ns,
        address: '192.0.2.1',
        port,
        listen: 80,
      }),
      '192.0.2.2',
    );
  for (const id of Object.keys(ATTACHED))
    for (const config of listOf(host, id).toReversed())
      assert.equal((await host.cni('DEL', id, { ...config, prevResult: results.get(id) })).code, 0, id);
  const bridges = /^(link|address) (cni0|lent0) /;
  assert.deepEqual(
    host.inventory().filter((line) => !bridges.test(line)),
    before,
  );
  assert.equal((await host.run(['nft', 'list', 'table', 'inet', 'own'])).stdout, rules);
  assert.deepEqual(
    fs.readdirSync(join(host.folder, 'host-local/test')).filter((name) => name.startsWith('10.')),
    [],
  );
  withRoute(host.ns, (route) => ['cni0', 'lent0'].forEach((name) => route.deleteLink(name)));
});
