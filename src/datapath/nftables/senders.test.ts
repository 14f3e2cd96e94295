import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Change, RemoteNode, Settings } from '../plan/tables.ts';
import { emptyState } from '../plan/tables.ts';
import { createSenders, senderPlan } from './senders.ts';

const native: Settings = {
  node: 'node-1',
  nodeAddresses: ['10.240.0.11'],
  nodePodCidrs: ['10.244.1.0/24'],
  podCidrs: ['10.244.0.0/16'],
  serviceCidrs: ['10.96.0.0/16'],
  underlayCidrs: ['10.240.0.0/24'],
  podLinks: 'veth',
  tunnelPort: 4789,
  routing: { sends: 'native', accepts: ['native'] },
};
const GATEWAY = '10.240.0.254';
const [MAC, OTHER, GATEWAY_MAC] = ['02:00:00:00:ff:02', '02:00:00:00:ff:12', '02:00:00:00:ff:fe'];

/** A kernel with an uplink, which hears `answers`. Nodes of 10.241.0.0/16 are behind the gateway. */
function kernel(answers: Map<string, string>) {
  const entries = new Map<string, string>();
  const asks: string[] = [];
  return {
    asks,
    entries,
    route: {
      links: () => [{ index: 2, name: 'eth0' }],
      addresses: () => [{ link: 2, address: '10.240.0.11/24' }],
      routeTo: (address: string) => ({ dev: 2, via: address.startsWith('10.241.') ? GATEWAY : undefined }),
      neighbours: () =>
        [...entries.keys()].map((address) => ({
          dev: 2,
          address,
          mac: answers.get(address) ?? '',
          permanent: false,
          protocol: 72,
        })),
      askNeighbour({ address }: { address: string }) {
        asks.push(address);
        entries.set(address, '');
      },
      deleteNeighbour: ({ address }: { address: string }) => entries.delete(address),
    },
  };
}

function planOf(settings: Settings, nodes: Readonly<Record<string, string>>) {
  const changes: Change[] = [
    { table: 'settings', key: 'node', value: settings },
    ...Object.entries(nodes).map(([node, address]): Change => {
      const value: RemoteNode = { node, addresses: [address], podCidrs: [] };
      return { table: 'routes', key: node, value };
    }),
  ];
  return senderPlan(emptyState(), changes);
}

test('nodes are believed by the link address that the kernel knows, or by the gateway’s', async () => {
  const { route } = kernel(
    new Map([
      ['10.240.0.12', MAC],
      [GATEWAY, GATEWAY_MAC],
    ]),
  );
  const senders = createSenders({ route });
  const plan = planOf(native, { two: '10.240.0.12', far: '10.241.0.13' });
  await senders.learn(plan);
  assert.deepEqual(senders.refresh(plan), ['two', 'far']);
  assert.deepEqual(['10.240.0.12', '10.241.0.13', '10.240.0.99'].map(senders.macOf), [
    MAC,
    GATEWAY_MAC,
    undefined,
  ]);
  assert.deepEqual(senders.refresh(plan), []);
});

test('who was silent is asked again and heard later; who falls silent is still who he was; who changes is followed', async () => {
  const answers = new Map<string, string>();
  const { route, asks, entries } = kernel(answers);
  const senders = createSenders({ route });
  const plan = planOf(native, { two: '10.240.0.12' });
  await senders.learn(plan);
  assert.deepEqual(senders.refresh(plan), []);
  assert.equal(senders.macOf('10.240.0.12'), undefined, 'not believed');
  assert.deepEqual(asks, ['10.240.0.12', '10.240.0.12']);
  answers.set('10.240.0.12', MAC);
  assert.deepEqual(senders.refresh(plan), ['two']);
  // Another data path that goes takes the kernel's entries along.
  entries.clear();
  assert.deepEqual(senders.refresh(plan), []);
  assert.equal(senders.macOf('10.240.0.12'), MAC);
  assert.equal(asks.length, 3);
  answers.set('10.240.0.12', OTHER);
  assert.deepEqual(senders.refresh(plan), ['two']);
  assert.equal(senders.macOf('10.240.0.12'), OTHER);
});

test('with a tunnel nobody is asked for, and nodes that are gone are nobody', async () => {
  const { route, entries } = kernel(new Map([['10.240.0.12', MAC]]));
  const senders = createSenders({ route });
  // Another data path's.
  entries.set('10.240.0.77', '');
  const { routing: _, ...tunnelled } = native;
  const vxlan = planOf(tunnelled, { two: '10.240.0.12' });
  await senders.learn(vxlan);
  assert.deepEqual(senders.refresh(vxlan), []);
  assert.deepEqual([...entries.keys()], ['10.240.0.77']);
  const plan = planOf(native, { two: '10.240.0.12' });
  for (const next of [vxlan, planOf(native, {})]) {
    await senders.learn(plan);
    assert.deepEqual(senders.refresh(plan), ['two']);
    assert.deepEqual([...entries.keys()], ['10.240.0.12']);
    await senders.learn(next);
    senders.refresh(next);
    assert.equal(senders.macOf('10.240.0.12'), undefined);
    assert.deepEqual([...entries.keys()], []);
  }
});
