import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { LEASE, NODE, SERVICE } from '../../api/kinds.ts';
import type { Service } from '../../api/types.ts';
import { createFakeClient, eventually, type FakeClient } from '../../client/fake.ts';
import { createInformer } from '../../client/informer.ts';
import type { Client } from '../../client/types.ts';
import { emptyState, type ServiceFrontend } from '../../datapath/plan/tables.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { createMetrics } from '../../lib/metrics.ts';
import { SATISFIED } from '../balancer-plan.ts';
import { readyNode, serviceOf } from '../testing.ts';
import { leaseName, LEASE_LABEL, LEASE_NAMESPACE, rankOf, runL2 } from './l2.ts';

function balancer(ips: readonly string[], spec: Partial<Service['spec']> = {}, name = 'web'): Service {
  const lastTransitionTime = '2026-01-01T00:00:00Z';
  return {
    ...serviceOf({ type: 'LoadBalancer', ...spec }, name),
    status: {
      loadBalancer: { ingress: ips.map((ip) => ({ ip })) },
      conditions: [{ type: SATISFIED, status: 'True', reason: '', message: '', lastTransitionTime }],
    },
  };
}

/** A node with an announcer that remembers. `die`: it is heard no more, and gives nothing up. */
function node(t: TestContext, fake: FakeClient, name: string) {
  const announced = new Set<string>();
  const state = emptyState();
  let isDead = false;
  const refuse = async () => {
    throw new Error('dead');
  };
  const client: Client = {
    ...fake,
    create: (...args) => (isDead ? refuse() : fake.create(...args)),
    update: (...args) => (isDead ? refuse() : fake.update(...args)),
    delete: (...args) => (isDead ? refuse() : fake.delete(...args)),
  };
  const informers = {
    services: createInformer(client, SERVICE, { log: silentLog }),
    nodes: createInformer(client, NODE, { log: silentLog }),
    leases: createInformer(client, LEASE, {
      log: silentLog,
      namespace: LEASE_NAMESPACE,
      labelSelector: LEASE_LABEL,
    }),
  };
  const stop = new AbortController();
  const l2 = runL2(
    {
      client,
      node: name,
      ...informers,
      plan: state,
      announcer: {
        announce: (address) => void announced.add(address),
        withdraw: (address) => void announced.delete(address),
        addresses: () => announced,
        answered: () => 0,
        close: () => {},
      },
      ready: Promise.resolve(),
      clock: systemClock,
      log: silentLog,
      metrics: createMetrics(),
    },
    stop.signal,
  );
  const done = Promise.all([l2, ...Object.values(informers).map((each) => each.run(stop.signal))]);
  t.after(async () => {
    stop.abort();
    await done;
  });
  return { announced, state, die: () => void (isDead = true) };
}

const WAIT = 15_000;
const many = Array.from({ length: 24 }, (_, i) => `10.240.1.${i + 1}`);

test('each address is announced by one node; of a node that dies others take them', async (t) => {
  const fake = createFakeClient();
  const names = ['node-1', 'node-2', 'node-3'];
  for (const name of names) await fake.create(NODE, readyNode(name));
  await fake.create(SERVICE, balancer(many));
  const nodes = names.map((name) => node(t, fake, name));
  const all = (of: readonly { announced: ReadonlySet<string> }[]) =>
    of.flatMap(({ announced }) => [...announced]);
  await eventually('all are announced', () => all(nodes).length === many.length, WAIT);
  assert.deepEqual(all(nodes).toSorted(), many.toSorted());
  nodes[0]?.die();
  await eventually('the others have all', () => all(nodes.slice(1)).length === many.length, WAIT);
  await eventually('the dead one has heard', () => nodes[0]?.announced.size === 0, WAIT);
});

test('with a Local policy only a node that has an endpoint announces', async (t) => {
  const fake = createFakeClient();
  for (const name of ['node-1', 'node-2']) await fake.create(NODE, readyNode(name));
  await fake.create(SERVICE, balancer(['10.240.1.1'], { externalTrafficPolicy: 'Local' }));
  const [one, two] = ['node-1', 'node-2'].map((name) => node(t, fake, name));
  const frontend = {
    externalBackends: [{ address: '10.244.1.2', port: 8080 }],
  } as unknown as ServiceFrontend;
  two?.state.services.set('10.240.1.1|TCP|80', frontend);
  await eventually('it is announced where the endpoint is', () => two?.announced.size === 1);
  assert.equal(one?.announced.size, 0);
  two?.state.services.clear();
  one?.state.services.set('10.240.1.1|TCP|80', frontend);
  await eventually(
    'it moves with the endpoint',
    () => one?.announced.size === 1 && two?.announced.size === 0,
  );
});

test("another balancer's address is not announced, and one whose Service goes is given up", async (t) => {
  const fake = createFakeClient();
  await fake.create(NODE, readyNode('node-1'));
  const foreign = balancer(['203.0.113.9'], {}, 'foreign');
  delete foreign.status?.conditions;
  await fake.create(SERVICE, foreign);
  await fake.create(SERVICE, balancer(['10.240.1.1', 'FD00:10:240::1:1']));
  const only = node(t, fake, 'node-1');
  await eventually('ours are announced', () => only.announced.size === 2);
  assert.deepEqual([...only.announced].toSorted(), ['10.240.1.1', 'fd00:10:240::1:1']);
  await fake.delete(SERVICE, 'web', 'shop');
  await eventually('nothing is', () => only.announced.size === 0 && fake.all(LEASE).length === 0);
});

test('every node is first for its share of the addresses, and stays it when another goes', () => {
  const names = ['node-1', 'node-2', 'node-3'];
  const addresses = Array.from({ length: 300 }, (_, i) => `10.240.1.${i % 256} ${i}`);
  const firsts = (of: readonly string[]) =>
    new Map(addresses.map((each) => [each, of.find((name) => rankOf(each, name, of) === 0)]));
  const before = firsts(names);
  for (const name of names) {
    const share = [...before.values()].filter((first) => first === name).length;
    assert.ok(share > 60 && share < 140, `${name} is first for ${share} of 300`);
  }
  for (const [address, first] of firsts(names.slice(1)))
    if (before.get(address) !== 'node-1') assert.equal(first, before.get(address));
});

test("addresses become objects' names", () => {
  assert.equal(leaseName('10.240.1.1'), 'heddle-l2-10.240.1.1');
  assert.equal(leaseName('fd00:10:240::1:1'), 'heddle-l2-fd00-10-240--1-1');
  assert.equal(leaseName('fd00::'), 'heddle-l2-fd00--0');
});
