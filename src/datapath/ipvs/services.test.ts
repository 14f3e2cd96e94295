import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { IpvsKey } from '../../kernel/ipvs-codec.ts';
import { inScratchNetns } from '../../kernel/netns.ts';
import { openNft } from '../../kernel/nft.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { edits, replaceTable } from '../nftables/diff.ts';
import { stateOf } from '../nftables/objects.ts';
import { parseTable } from '../nftables/parse.ts';
import {
  applyChanges,
  type BalanceAlgorithm,
  type Change,
  emptyState,
  frontendKey,
  type ServiceFrontend,
  type Settings,
} from '../plan/tables.ts';
import { fakeIpvs } from './fake-ipvs.ts';
import { createMarks, isOurs } from './marks.ts';
import { BASE, frontendObjects, settingsObjects, TABLE } from './rules.ts';
import { schedulerOf } from './schedulers.ts';
import { createIpvsServices } from './services.ts';

const settings: Settings = {
  node: 'node-1',
  nodeAddresses: ['10.240.0.11', 'fd00:10:240::11'],
  nodeLocal: ['10.96.0.10'],
  nodePodCidrs: ['10.244.1.0/24', 'fd00:10:244:1::/64'],
  podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'],
  serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
  underlayCidrs: ['10.240.0.0/24'],
  podLinks: 'veth',
  tunnelPort: 4789,
};

const frontend = (change: Partial<ServiceFrontend> = {}): ServiceFrontend => ({
  service: 'shop/cart',
  kind: 'ClusterIP',
  address: '10.96.0.1',
  protocol: 'TCP',
  port: 80,
  backends: [
    { address: '10.244.1.2', port: 8080 },
    { address: '10.244.2.2', port: 8080 },
  ],
  whenEmpty: 'refuse',
  algorithm: 'random',
  forwarding: 'snat',
  ...change,
});

const put = (value: ServiceFrontend): Change => ({ table: 'services', key: frontendKey(value), value });
const gone = (value: ServiceFrontend): Change => ({
  table: 'services',
  key: frontendKey(value),
  value: undefined,
});

/** A kernel that remembers, without rules. */
function lab() {
  const ipvs = fakeIpvs();
  const routes = new Map<string, string>();
  const sysctls = new Map<string, string>();
  const open = () =>
    createIpvsServices({
      openIpvs: () => ipvs,
      nft: undefined,
      route: {
        addresses: () => [{ address: '10.240.0.11/24' }],
        routes: () =>
          [...routes].map(([dst, src]) => ({
            dst,
            src,
            via: undefined,
            dev: 1,
            protocol: 72,
            table: 255,
            type: 'local',
            metric: 0,
            onlink: false,
          })),
        replaceRoute: ({ dst, src = '' }) => void routes.set(dst, src),
        deleteRoute: ({ dst }) => routes.delete(dst),
      },
      sysctls: {
        read: (key) => sysctls.get(key) ?? '0',
        write: (key, value) => void sysctls.set(key, value),
      },
    });
  const state = emptyState();
  applyChanges(state, [{ table: 'settings', key: 'node', value: settings }]);
  return { ipvs, routes, sysctls, open, state };
}

const key = (value: ServiceFrontend): IpvsKey => ({
  family: 4,
  protocol: value.protocol === 'UDP' ? 17 : 6,
  address: value.address,
  port: value.port,
});

test('service ranges and outside addresses are local routes from the node’s address', () => {
  const { open, routes, state } = lab();
  const part = open();
  part.prune(state);
  const outside = frontend({ kind: 'LoadBalancer', address: '192.0.2.1' });
  part.apply([put(outside), put({ ...outside, port: 81 })]);
  assert.deepEqual(Object.fromEntries(routes), {
    '10.96.0.0/16': '10.240.0.11',
    'fd00:10:96::/112': 'fd00:10:240::11',
    '192.0.2.1/32': '10.240.0.11',
  });
  part.apply([gone(outside)]);
  assert.ok(routes.has('192.0.2.1/32'), 'another port needs it');
  part.apply([gone({ ...outside, port: 81 })]);
  assert.equal(routes.has('192.0.2.1/32'), false);
  part.apply([put(frontend({ kind: 'NodePort', address: '10.240.0.11', port: 30_080 }))]);
  assert.equal(routes.size, 2, 'node ports are at addresses that the node has');
});

test('connections of a backend that goes are left to end, then it goes; a flow of datagrams ends with it', () => {
  const { open, ipvs, state } = lab();
  const part = open();
  part.prune(state);
  const [tcp, udp] = [frontend(), frontend({ protocol: 'UDP' })];
  part.apply([put(tcp), put(udp)]);
  for (const each of [tcp, udp]) ipvs.connect(key(each), '10.244.1.2', 3);
  const rest = { backends: tcp.backends.slice(1) };
  part.apply([put({ ...tcp, ...rest }), put({ ...udp, ...rest })]);
  const weights = (each: ServiceFrontend) =>
    ipvs.destinations(key(each)).map(({ address, weight }) => `${address} ${weight}`);
  assert.deepEqual(weights(tcp), ['10.244.1.2 0', '10.244.2.2 1']);
  assert.deepEqual(weights(udp), ['10.244.2.2 1']);
  assert.deepEqual(part.verify(), []);
  assert.equal(part.sweep(), true);
  const again = open();
  assert.deepEqual(again.prune(part.plan), []);
  ipvs.connect(key(tcp), '10.244.1.2', 0);
  assert.equal(again.sweep(), false);
  assert.deepEqual(weights(tcp), ['10.244.2.2 1']);
});

test('a backend that drains and comes back gets its share again', () => {
  const { open, ipvs, state } = lab();
  const part = open();
  part.prune(state);
  part.apply([put(frontend())]);
  ipvs.connect(key(frontend()), '10.244.1.2', 1);
  part.apply([gone(frontend())]);
  assert.deepEqual(
    ipvs.destinations(key(frontend())).map(({ weight }) => weight),
    [0],
    'who has nothing goes at once',
  );
  part.apply([put(frontend({ algorithm: 'least-connection' }))]);
  assert.deepEqual(ipvs.service(key(frontend()))?.scheduler, 'lc');
  assert.deepEqual(
    ipvs.destinations(key(frontend())).map(({ weight }) => weight),
    [1, 1],
  );
  ipvs.connect(key(frontend()), '10.244.1.2', 0);
  part.apply([gone(frontend())]);
  assert.deepEqual(ipvs.services(), []);
});

test('clients outside get backends of their own by a firewall mark', () => {
  const { open, ipvs, state } = lab();
  const part = open();
  part.prune(state);
  const each = frontend({
    kind: 'NodePort',
    address: '10.240.0.11',
    externalBackends: frontend().backends.slice(0, 1),
  });
  part.apply([put(each)]);
  const mark = ipvs.services().find((service) => 'fwmark' in service.key)?.key;
  assert.ok(mark && 'fwmark' in mark && isOurs(mark.fwmark));
  assert.deepEqual(
    ipvs.destinations(mark).map(({ address }) => address),
    ['10.244.1.2'],
  );
  assert.equal(ipvs.destinations(key(each)).length, 2);
  part.remove();
  assert.deepEqual(ipvs.services(), []);
});

test('what a run before left is removed without a plan, and where there was none nothing is asked for', () => {
  const { open, ipvs, routes, sysctls, state } = lab();
  const part = open();
  part.prune(state);
  part.apply([put(frontend()), put(frontend({ kind: 'NodePort', address: '10.240.0.11', port: 30_080 }))]);
  open().remove();
  assert.deepEqual([ipvs.services(), routes.size, sysctls.get('net.ipv4.vs.conntrack')], [[], 0, '0']);
  const before = ipvs.sent.length;
  open().remove();
  assert.equal(ipvs.sent.length, before);
});

test('what others have in IPVS is left alone', () => {
  const { open, ipvs, state } = lab();
  const foreign = { family: 4, protocol: 6, address: '203.0.113.1', port: 80 } as const;
  ipvs.run([{ do: 'add', service: { key: foreign, scheduler: 'rr', flags: 0, persistence: 0 } }]);
  const part = open();
  part.prune(state);
  part.apply([put(frontend())]);
  part.remove();
  assert.deepEqual(
    ipvs.services().map((service) => service.key),
    [foreign],
  );
});

const algorithms: readonly BalanceAlgorithm[] = ['random', 'least-connection', 'maglev', 'never-queue'];
const backend = fc.record(
  {
    address: fc.constantFrom('10.244.1.2', '10.244.1.3', '10.244.2.2'),
    port: fc.constantFrom(8080, 8081),
    weight: fc.constantFrom(0, 1, 7),
  },
  { requiredKeys: ['address', 'port'], noNullPrototype: true },
);
const backends = fc.uniqueArray(backend, { selector: ({ address, port }) => `${address} ${port}` });
const anyFrontend: fc.Arbitrary<ServiceFrontend> = fc
  .record(
    {
      address: fc.constantFrom('10.96.0.1', '10.96.0.2'),
      protocol: fc.constantFrom<'TCP' | 'UDP' | 'SCTP'>('TCP', 'UDP', 'SCTP'),
      kind: fc.constantFrom<'ClusterIP' | 'LoadBalancer'>('ClusterIP', 'LoadBalancer'),
      algorithm: fc.constantFrom(...algorithms),
      backends,
      externalBackends: backends,
      affinitySeconds: fc.constantFrom(60, 300),
      whenEmpty: fc.constantFrom<'refuse' | 'drop'>('refuse', 'drop'),
    },
    {
      requiredKeys: ['address', 'protocol', 'kind', 'algorithm', 'backends', 'whenEmpty'],
      noNullPrototype: true,
    },
  )
  .map((change) => frontend(change));
const change = fc.tuple(anyFrontend, fc.boolean()).map(([each, there]) => (there ? put(each) : gone(each)));

test('any changes leave what a start from their sum leaves, and the same again sends nothing', () => {
  fc.assert(
    fc.property(fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 6 }), (batches) => {
      const [one, other] = [lab(), lab()];
      const part = one.open();
      part.prune(one.state);
      for (const batch of batches) {
        part.apply(batch);
        assert.deepEqual(part.verify(), []);
        const before = one.ipvs.sent.length;
        part.apply(batch.filter(({ key: name, value }) => part.plan.services.get(name) === value));
        assert.equal(one.ipvs.sent.length, before);
      }
      other.open().prune(part.plan);
      const all = ({ ipvs }: typeof one) =>
        ipvs
          .services()
          .map((service) => ({
            service,
            destinations: ipvs
              .destinations(service.key)
              .map((each) => JSON.stringify(each))
              .sort(),
          }))
          .map((each) => JSON.stringify(each))
          .sort();
      assert.deepEqual(all(one), all(other));
      assert.deepEqual(new Map(one.routes), new Map(other.routes));
      const before = other.ipvs.sent.length;
      assert.deepEqual(other.open().prune(part.plan), []);
      assert.equal(other.ipvs.sent.length, before);
    }),
  );
});

test('damage is found and mended by what differs alone', () => {
  const { open, ipvs, routes, sysctls, state } = lab();
  const part = open();
  part.prune(state);
  part.apply([put(frontend())]);
  const of = key(frontend());
  const destination = { address: '10.244.1.2', port: 8080, weight: 1 };
  const harm: (() => void)[] = [
    () => ipvs.run([{ do: 'delete', of, destination }]),
    () => ipvs.run([{ do: 'set', of, destination: { ...destination, weight: 9 } }]),
    () => ipvs.run([{ do: 'add', of, destination: { ...destination, port: 1 } }]),
    () => ipvs.run([{ do: 'delete', service: { key: of } }]),
    () => ipvs.run([{ do: 'set', service: { key: of, scheduler: 'sh', flags: 0, persistence: 5 } }]),
    () =>
      ipvs.run([
        {
          do: 'add',
          service: { key: { ...of, port: 81 }, scheduler: 'rr', flags: 0, persistence: 0 },
        },
      ]),
    () => routes.delete('10.96.0.0/16'),
    () => routes.set('10.96.0.0/16', '10.240.0.99'),
    () => routes.set('203.0.113.9/32', '10.240.0.11'),
    () => sysctls.set('net.ipv4.vs.conntrack', '0'),
  ];
  for (const [i, each] of harm.entries()) {
    each();
    assert.notDeepEqual(part.verify(), [], `harm ${i}`);
    assert.notDeepEqual(part.prune(part.plan), [], `harm ${i}`);
    assert.deepEqual(part.verify(), [], `harm ${i}`);
  }
});

test('shares need a scheduler that knows them, and the kernel knows all that are named', () => {
  const [a, b] = frontend().backends;
  const name = (algorithm: string, ...list: Parameters<typeof schedulerOf>[1][number][]) =>
    schedulerOf(algorithm, list).name;
  assert.equal(name('random', a!, b!), 'rr');
  assert.equal(name('random', a!, { ...b!, weight: 3 }), 'wrr');
  assert.equal(name('random', a!, { ...b!, weight: 0 }), 'rr', 'who drains has none');
  assert.equal(name('least-connection', a!, { ...b!, weight: 3 }), 'wlc');
  assert.deepEqual(
    ['maglev', 'source-hash', 'destination-hash', 'shortest-expected-delay', 'never-queue'].map((each) =>
      name(each, a!, b!),
    ),
    ['mh', 'sh', 'dh', 'sed', 'nq'],
  );
});

test('no two frontends have one mark, and each keeps its own', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { maxLength: 200 }), (names) => {
      const marks = createMarks();
      const numbers = names.map((each) => marks.of(each));
      assert.equal(new Set(numbers).size, names.length);
      assert.ok(numbers.every(isOurs));
      assert.deepEqual(
        names.map((each) => marks.of(each)),
        numbers,
      );
    }),
  );
});

test('nft lists the rules as they were written', { skip: needsRoot }, () => {
  const frontends = [
    frontend(),
    frontend({ address: 'fd00:10:96::1', backends: [] }),
    frontend({ kind: 'LoadBalancer', address: '192.0.2.1', sourceRanges: ['203.0.113.0/24'] }),
    frontend({ kind: 'NodePort', address: '10.240.0.11', externalBackends: [frontend().backends[0]!] }),
    frontend({
      kind: 'LoadBalancer',
      address: '2001:db8::1',
      backends: [],
      sourceRanges: ['2001:db8:1::/64', '2001:db8:2::7/128'],
    }),
    frontend({ address: '10.96.0.7', backends: [], whenEmpty: 'drop' }),
  ];
  const state = stateOf([
    ...BASE,
    ...settingsObjects(settings),
    ...frontends.flatMap((each, i) => frontendObjects(each, 0x48000001 + i)),
  ]);
  inScratchNetns(() => {
    const nft = openNft();
    try {
      nft.run(replaceTable(state, false, TABLE).join('\n'));
      assert.deepEqual(edits(parseTable(nft.run(`list table ${TABLE}`)), state), []);
    } finally {
      nft.close();
    }
  });
});
