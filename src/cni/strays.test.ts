import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createIpam } from '../ipam/ipam.ts';
import { openRoute } from '../kernel/route.ts';
import { needsRoot, testFolder, testNetns } from '../kernel/test-netns.ts';
import { silentLog } from '../lib/log.ts';
import { withRoute } from './main/inside.ts';
import { hostInterfaceName } from './names.ts';
import { createPlugin } from './plugin.ts';
import { bookWhatIsThere, findStrays } from './strays.ts';
import type { CniRequest } from './types.ts';

const options = { skip: needsRoot };
const PORTS = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] as const;

/** A node whose pods are attached and whose book can be lost. */
async function testNode(t: TestContext) {
  const path = join(testFolder(t), 'ipam.json');
  const node = openRoute(testNetns(t));
  t.after(() => node.close());
  const namespaces = new Map(['a', 'b'].map((uid) => [uid, testNetns(t)]));
  const open = () => createIpam({ cidrs: ['10.9.1.0/24', 'fd00:9:1::/64'], path, log: silentLog });
  let ipam = await open();
  const request = (uid: string, command: CniRequest['command']): CniRequest => ({
    command,
    containerId: uid,
    netns: namespaces.get(uid)?.path ?? '',
    ifName: 'eth0',
    cniVersion: '1.1.0',
    args: { K8S_POD_NAMESPACE: 'shop', K8S_POD_NAME: uid, K8S_POD_UID: uid },
    config: { name: 'heddle', type: 'heddle-cni', cniVersion: '1.1.0' },
  });
  const plugin = () => createPlugin({ ipam, node, mtu: 1450, log: silentLog });
  const traces = {
    netnsOf: (uid: string) => namespaces.get(uid)?.path ?? '',
    detailsOf: () => ({ ports: PORTS }),
  };
  return {
    node,
    link: (uid: string) => hostInterfaceName({ containerId: uid, ifName: 'eth0' }),
    inside: (uid: string) => namespaces.get(uid) ?? assert.fail(),
    add: (uid: string) => plugin().add(request(uid, 'ADD')),
    del: (uid: string) => plugin().del(request(uid, 'DEL')),
    held: (uid: string) => ipam.get(`${uid}/eth0`),
    strays: (known?: ReadonlySet<string>) => findStrays({ node, ipam, ...traces }, known),
    book: () => bookWhatIsThere({ node, ipam, ...traces }),
    async loseBook() {
      rmSync(path);
      ipam = await open();
    },
    async restart() {
      ipam = await open();
    },
    routes: () =>
      node
        .routes()
        .filter(({ protocol }) => protocol === 72)
        .map(({ dst, dev }) => `${dst} ${dev}`)
        .toSorted(),
  };
}

test(
  'a book that was lost is written again from what pods have, and nobody is given theirs',
  options,
  async (t) => {
    const node = await testNode(t);
    await node.add('a');
    const before = node.held('a');
    assert.deepEqual(node.strays(), []);
    await node.loseBook();
    assert.equal(node.held('a'), undefined);
    assert.equal(node.strays(new Set(['b'])).length, 0, 'of pods that are known only');
    const [first = ''] = before?.addresses ?? [];
    assert.deepEqual(
      node.strays(new Set(['a'])).map(({ what }) => what),
      before?.addresses.map((address) => `address ${address}, which shop/a has and the book has not`),
    );
    assert.equal((await node.book()).length, 2);
    await node.restart();
    assert.deepEqual(node.held('a')?.addresses, before?.addresses);
    assert.deepEqual(node.held('a')?.label, 'shop/a');
    assert.deepEqual(node.held('a')?.details, { ports: PORTS });
    assert.deepEqual([await node.book(), node.strays()], [[], []]);
    await node.add('b');
    assert.ok(!node.held('b')?.addresses.includes(first));
    await node.del('a');
    await node.del('b');
    assert.deepEqual([node.routes(), node.strays()], [[], []]);
  },
);

test(
  'routes to what a pod has not go, those to what is another’s are led back, missing ones come',
  options,
  async (t) => {
    const node = await testNode(t);
    await node.add('a');
    await node.add('b');
    const whole = node.routes();
    const [four = '', six = ''] = node.held('b')?.addresses ?? [];
    node.node.replaceRoute({ dst: '10.9.1.77/32', dev: node.link('a') });
    node.node.replaceRoute({ dst: `${four}/32`, dev: node.link('a') });
    node.node.deleteRoute({ dst: `${six}/128`, dev: node.link('b') });
    const found = node.strays();
    assert.deepEqual(
      found.map(({ what }) => what).toSorted(),
      [
        `no route to ${four} of shop/b`,
        `no route to ${six} of shop/b`,
        `route by ${node.link('a')} of shop/a to ${four}, which is shop/b’s`,
        `route by ${node.link('a')} of shop/a to 10.9.1.77, which it does not have`,
      ].toSorted(),
    );
    assert.deepEqual(await node.book(), [], 'nothing of it is an address that a pod has');
    for (const { remove } of found) assert.equal(await remove(), true);
    assert.deepEqual([node.strays(), node.routes()], [[], whole]);
  },
);

test(
  'an address that a pod gave itself is nobody’s, and one that others wrote is left alone',
  options,
  async (t) => {
    const node = await testNode(t);
    await node.add('a');
    withRoute(node.inside('a'), (pod) => pod.replaceAddress('eth0', '10.9.1.99/32'));
    assert.deepEqual(node.strays(), []);
    await node.loseBook();
    await node.book();
    assert.ok(!node.held('a')?.addresses.includes('10.9.1.99'));
  },
);
