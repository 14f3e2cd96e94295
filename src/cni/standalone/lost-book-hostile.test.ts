/** Containers that rule their own network namespace, and lie in it, while the address book is lost. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { callSocket } from '../../lib/unix-http.ts';
import { withRoute } from '../main/inside.ts';
import { type Answer, type Host, testHost } from '../testing/host.ts';
import type { StandaloneStatus } from './status.ts';

/** In the order in which they are made: liars before those they lie about. */
const CONTAINERS: Readonly<Record<string, object>> = {
  thief: { type: 'heddle-bridge' },
  liar: { type: 'heddle-ptp' },
  forger: { type: 'heddle-macvlan', master: 'up0' },
  joker: { type: 'heddle-macvlan', master: 'up0' },
  neighbour: { type: 'heddle-bridge' },
  routed: {},
};

const withoutBook = (host: Host) => host.inventory().filter((line) => !line.startsWith('book '));

const ipv4 = (answer: Answer | undefined) => answer?.ips?.[0]?.address.split('/')[0] ?? '';

/** A host port of a container whose link is another plugin's: the machine has nothing of it but the rule. */
async function lendPort(host: Host, netns: Netns): Promise<void> {
  withRoute(host.ns, (route) => {
    route.addVeth({ name: 'ext0', peer: { name: 'eth0', netns } });
    route.setLink('ext0', { up: true });
  });
  withRoute(netns, (route) => route.replaceAddress('eth0', '10.66.0.2/24'));
  const sandbox = netns.path;
  const prevResult = {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'ext0' }, { name: 'eth0', sandbox }],
    ips: [{ address: '10.66.0.2/24', interface: 1 }],
  };
  const runtimeConfig = { portMappings: [{ hostPort: 8080, containerPort: 80 }] };
  const { code, out } = await host.cni('ADD', 'lent', { prevResult, runtimeConfig });
  assert.equal(code, 0, JSON.stringify(out));
}

/** As root in there would. */
function readdress(netns: Netns, from: string, to: string): void {
  withRoute(netns, (route) => {
    const had = route.addresses().find(({ address }) => address.startsWith(`${from}/`))?.address ?? '';
    route.deleteAddress('eth0', had);
    route.replaceAddress('eth0', had.replace(from, to));
  });
}

test('what containers say of themselves takes nothing from others when a lost book is written again', {
  skip: needsRoot,
}, async (t) => {
  const host = await testHost(t, { dns: { domain: 'dns.test', servers: [] } });
  await host.startAgent();
  const results: Record<string, Answer | undefined> = {};
  const netns: Record<string, Netns> = {};
  for (const [id, config] of Object.entries(CONTAINERS)) {
    netns[id] = host.container(id);
    const { code, out } = await host.cni('ADD', id, config);
    assert.equal(code, 0, `${id}: ${JSON.stringify(out)}`);
    results[id] = out;
  }
  netns['lent'] = host.container('lent');
  await lendPort(host, netns['lent']);
  const during = withoutBook(host);
  await host.stopAgent('SIGKILL');
  fs.rmSync(join(host.folder, 'state/ipam.json'));
  readdress(netns['thief'] ?? host.ns, ipv4(results['thief']), ipv4(results['neighbour']));
  readdress(netns['liar'] ?? host.ns, ipv4(results['liar']), '203.0.113.7');
  const forged = 'heddle:pod:shop/web:uid test lent/eth0';
  withRoute(netns['forger'] ?? host.ns, (route) => route.setLink('eth0', { alias: forged }));
  const obeyed = 'heddle:pod:shop/\u001b[31mweb:uid test web/eth0';
  withRoute(netns['joker'] ?? host.ns, (route) => route.setLink('eth0', { alias: obeyed }));

  await host.startAgent();
  assert.deepEqual(withoutBook(host), during, 'nobody loses a link, a route or a rule, and nobody gets one');
  const { repairs } = await callSocket<StandaloneStatus>({ socketPath: host.socket, path: '/status' });
  for (const id of ['thief', 'liar', 'neighbour', 'routed'])
    assert.ok(
      repairs.some((line) => line.includes(`lost ${id}/eth0 of none/${id}`)),
      `${id}: ${repairs.join('; ')}`,
    );
  assert.doesNotMatch(repairs.join(), /\p{Cc}/u, 'nothing that a terminal obeys');
  // The thief has given its own up.
  const held = ['liar', 'forger', 'joker', 'neighbour', 'routed'].map((id) => ipv4(results[id]));
  for (const id of ['one', 'two']) {
    host.container(id);
    const { out } = await host.cni('ADD', id);
    assert.ok(!held.includes(ipv4(out)), `${ipv4(out)} is given twice`);
    assert.equal((await host.cni('DEL', id)).code, 0);
  }
  assert.equal((await host.cni('DEL', 'thief', CONTAINERS['thief'])).code, 0);
  assert.equal((await host.cni('DEL', 'forger', CONTAINERS['forger'])).code, 0);
  for (const id of ['neighbour', 'routed']) {
    const { code, out } = await host.cni('CHECK', id, { ...CONTAINERS[id], prevResult: results[id] });
    assert.equal(code, 0, `${id}: ${JSON.stringify(out)}`);
  }
});
