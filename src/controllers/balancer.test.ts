import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { LOAD_BALANCER_IP_POOL, NAMESPACE, SERVICE } from '../api/kinds.ts';
import type { LoadBalancerIpPool, Service } from '../api/types.ts';
import { createFakeClient, eventually, type FakeClient } from '../client/fake.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import { addressesOf, chooseAddresses, SATISFIED, type Situation } from './balancer-plan.ts';
import { createBalancerController } from './balancer.ts';
import { createClusterInformers } from './informers.ts';
import { namespaceOf, serviceOf } from './testing.ts';

type Spec = Partial<NonNullable<Service['spec']>>;
interface Parts {
  spec?: Spec;
  annotations?: Record<string, string>;
  labels?: Record<string, string>;
  has?: readonly string[];
  created?: string;
}

function balancer(name: string, parts: Parts = {}): Service {
  const { spec, annotations, labels, has = [], created } = parts;
  const made = serviceOf({ type: 'LoadBalancer', ipFamilies: ['IPv4'], ...spec }, name);
  Object.assign(made.metadata, { annotations, labels, creationTimestamp: created ?? '2026-01-01T00:00:00Z' });
  if (has.length > 0)
    made.status = {
      loadBalancer: { ingress: has.map((ip) => ({ ip })) },
      conditions: [
        {
          type: SATISFIED,
          status: 'True',
          reason: '',
          message: '',
          lastTransitionTime: '2026-01-01T00:00:00Z',
        },
      ],
    };
  return made;
}

const pool = (name: string, blocks: LoadBalancerIpPool['spec']['blocks'], more = {}): LoadBalancerIpPool => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumLoadBalancerIPPool',
  metadata: { name },
  spec: { blocks, ...more },
});

const small = pool('small', [{ start: '192.0.2.1', stop: '192.0.2.2' }, { cidr: '2001:db8::/120' }]);

function choose(service: Service, pools: readonly LoadBalancerIpPool[], others: readonly Service[] = []) {
  const all = [service, ...others];
  const situation: Situation = {
    service,
    pools,
    holdersOf: (text) => all.filter((each) => addressesOf(each).includes(text)),
    shared: others.flatMap(addressesOf),
  };
  const { addresses, reason, message } = chooseAddresses(situation);
  return { addresses, reason, message };
}

test('a Service gets the first free address of each of its families', () => {
  const dual = balancer('a', { spec: { ipFamilies: ['IPv6', 'IPv4'] } });
  assert.deepEqual(choose(dual, [small]).addresses, ['2001:db8::', '192.0.2.1']);
  const second = choose(balancer('b'), [small], [balancer('a', { has: ['192.0.2.1'] })]);
  assert.deepEqual(second, { addresses: ['192.0.2.2'], reason: 'satisfied', message: '' });
});

test('addresses stay while the pool has them, and go with it', () => {
  const kept = balancer('a', { has: ['192.0.2.2'] });
  assert.deepEqual(choose(kept, [small]).addresses, ['192.0.2.2']);
  const disabled = pool('small', small.spec.blocks, { disabled: true });
  assert.deepEqual(choose(kept, [disabled]).addresses, ['192.0.2.2']);
  assert.equal(choose(balancer('b'), [disabled]).reason, 'out_of_ips');
  assert.deepEqual(choose(kept, []), {
    addresses: [],
    reason: 'no_pool',
    message: 'there are no pools of this family that select this Service',
  });
});

test('a full pool, a pool for others and no pool are told apart', () => {
  const others = ['192.0.2.1', '192.0.2.2'].map((ip, i) => balancer(`o${i}`, { has: [ip] }));
  assert.match(choose(balancer('a'), [small], others).message, /no free IPv4 address/);
  const red = pool('red', small.spec.blocks, { serviceSelector: { matchLabels: { color: 'red' } } });
  assert.equal(choose(balancer('a'), [red]).reason, 'no_pool');
  assert.equal(choose(balancer('a', { labels: { color: 'red' } }), [red]).reason, 'satisfied');
  const named = { matchLabels: { 'io.kubernetes.service.name': 'a' } };
  assert.equal(
    choose(balancer('a'), [pool('p', small.spec.blocks, { serviceSelector: named })]).reason,
    'satisfied',
  );
  const v4 = pool('v4', [{ cidr: '192.0.2.0/30' }], { allowFirstLastIPs: 'No' });
  const either = balancer('a', { spec: { ipFamilies: ['IPv4', 'IPv6'] } });
  assert.deepEqual(choose(either, [v4]), { addresses: ['192.0.2.1'], reason: 'satisfied', message: '' });
  const both = balancer('a', { spec: { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' } });
  assert.equal(choose(both, [v4]).reason, 'no_pool');
});

test('an address that is asked for is given, or said why not', () => {
  const asks = (text: string) => balancer('a', { annotations: { 'lbipam.cilium.io/ips': text } });
  assert.deepEqual(choose(asks('192.0.2.2, 2001:db8::7'), [small]).addresses, ['192.0.2.2', '2001:db8::7']);
  assert.deepEqual(choose(balancer('a', { spec: { loadBalancerIP: '192.0.2.2' } }), [small]).addresses, [
    '192.0.2.2',
  ]);
  assert.equal(choose(asks('198.51.100.1'), [small]).reason, 'no_pool');
  const taken = choose(asks('192.0.2.2'), [small], [balancer('b', { has: ['192.0.2.2'] })]);
  assert.deepEqual(taken, {
    addresses: [],
    reason: 'already_allocated',
    message: "192.0.2.2 is another Service's",
  });
  const red = pool('red', small.spec.blocks, { serviceSelector: { matchLabels: { color: 'red' } } });
  assert.equal(choose(asks('192.0.2.2'), [red]).reason, 'pool_selector_mismatch');
  const moved = balancer('a', { has: ['192.0.2.1'], annotations: { 'lbipam.cilium.io/ips': '192.0.2.2' } });
  assert.deepEqual(choose(moved, [small]).addresses, ['192.0.2.2']);
});

test('Services with one sharing key and different ports have one address', () => {
  const annotations = { 'lbipam.cilium.io/sharing-key': 'dns' };
  const port = (protocol: 'TCP' | 'UDP', more: Spec = {}): Spec => ({
    ports: [{ port: 53, protocol }],
    ...more,
  });
  const first = balancer('a', { annotations, spec: port('UDP'), has: ['192.0.2.2'] });
  const second = balancer('b', { annotations, spec: port('TCP') });
  assert.deepEqual(choose(second, [small], [first]).addresses, ['192.0.2.2']);
  const same = balancer('b', { annotations, spec: port('UDP') });
  assert.deepEqual(choose(same, [small], [first]).addresses, ['192.0.2.1']);
  const local = balancer('b', { annotations, spec: port('TCP', { externalTrafficPolicy: 'Local' }) });
  assert.deepEqual(choose(local, [small], [first]).addresses, ['192.0.2.1']);
});

test('of two Services with one address the older one keeps it', () => {
  const old = balancer('z', { has: ['192.0.2.1'], created: '2025-01-01T00:00:00Z' });
  const young = balancer('a', { has: ['192.0.2.1'], created: '2026-01-01T00:00:00Z' });
  assert.deepEqual(choose(old, [small], [young]).addresses, ['192.0.2.1']);
  assert.deepEqual(choose(young, [small], [old]).addresses, ['192.0.2.2']);
});

test('however Services come and go, no two have one address, and none waits while one is free', () => {
  const steps = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean()), { maxLength: 20 });
  fc.assert(
    fc.property(steps, (list) => {
      const now = new Map<string, Service>();
      for (const [name, there] of list) {
        if (there) now.set(name, now.get(name) ?? balancer(name));
        else now.delete(name);
        for (const [each, service] of now) {
          const { addresses } = choose(
            service,
            [small],
            [...now.values()].filter((other) => other !== service),
          );
          now.set(each, balancer(each, { has: addresses }));
        }
        const held = [...now.values()].flatMap(addressesOf);
        assert.equal(new Set(held).size, held.length);
        assert.equal(held.length, Math.min(2, now.size));
      }
    }),
  );
});

async function start(t: TestContext, client: FakeClient, ranges?: { start: string; stop: string }[]) {
  await client.create(NAMESPACE, namespaceOf('shop'));
  const informers = createClusterInformers(client, silentLog);
  const deps = { client, informers, log: silentLog, metrics: createMetrics(), clock: systemClock };
  const controller = createBalancerController(
    { ...deps, recorder: () => ({ event: () => {} }) as never },
    { ranges },
  );
  const stop = new AbortController();
  const done = [informers.run(stop.signal), controller.run(stop.signal)];
  t.after(async () => {
    stop.abort();
    await Promise.all(done);
  });
}

const ingress = (client: FakeClient, name: string) =>
  client
    .all(SERVICE)
    .filter(({ metadata }) => metadata.name === name)
    .flatMap(addressesOf);

test('a new cluster has a pool; who waits gets what another gives back; the pool counts', async (t) => {
  const client = createFakeClient();
  await start(t, client, [{ start: '192.0.2.1', stop: '192.0.2.1' }]);
  await client.create(SERVICE, balancer('first'));
  const has =
    (name: string, ...ips: string[]) =>
    () =>
      String(ingress(client, name)) === String(ips);
  await eventually('the first has it', has('first', '192.0.2.1'));
  await client.create(SERVICE, balancer('second'));
  const reason = () => client.all(SERVICE).at(-1)?.status?.conditions?.[0]?.reason;
  await eventually('the second waits', () => reason() === 'out_of_ips');
  await client.delete(SERVICE, 'first', 'shop');
  await eventually('the second has it', has('second', '192.0.2.1'));
  const counts = [
    'cilium.io/PoolConflict False ',
    'cilium.io/IPsTotal Unknown 1',
    'cilium.io/IPsAvailable Unknown 0',
    'cilium.io/IPsUsed Unknown 1',
  ];
  const said = () =>
    client
      .all(LOAD_BALANCER_IP_POOL)[0]
      ?.status?.conditions?.map(({ type, status, message }) => `${type} ${status} ${message}`);
  await eventually('the pool counts', () => String(said()) === String(counts));
});

test("addresses that somebody else wrote, and other balancers' Services, are left alone", async (t) => {
  const client = createFakeClient();
  await start(t, client, [{ start: '192.0.2.1', stop: '192.0.2.9' }]);
  await client.create(SERVICE, balancer('cloud', { spec: { loadBalancerClass: 'example.com/cloud' } }));
  const given = balancer('given');
  given.status = { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } };
  await client.create(SERVICE, given);
  await client.create(SERVICE, balancer('ours'));
  await eventually('ours has one', () => String(ingress(client, 'ours')) === '192.0.2.1');
  assert.deepEqual(ingress(client, 'given'), ['203.0.113.9']);
  assert.deepEqual(ingress(client, 'cloud'), []);
});
