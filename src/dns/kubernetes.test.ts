import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EndpointSlice, Service } from '../api/types.ts';
import { formatAddress, fromBytes } from '../lib/ip.ts';
import type { Answer } from './chain.ts';
import { createChain } from './chain.ts';
import { kubernetes } from './kubernetes.ts';
import { RCODE } from './message.ts';
import { type ResourceRecord, TYPE } from './record.ts';
import { createRecords } from './records.ts';

type Spec = NonNullable<Service['spec']>;
type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];

const service = (name: string, spec: Spec, namespace = 'shop'): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace },
  spec,
});

function slice(serviceName: string, endpoints: Endpoint[], more: Partial<EndpointSlice> = {}): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${serviceName}-1`,
      namespace: 'shop',
      labels: { 'kubernetes.io/service-name': serviceName },
    },
    addressType: 'IPv4',
    endpoints,
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    ...more,
  };
}

const endpoint = (address: string, more: Partial<Endpoint> = {}): Endpoint => ({
  addresses: [address],
  ...more,
});

function setUp() {
  const records = createRecords();
  const handler = createChain([
    kubernetes({
      records,
      ranges: ['10.96.0.0/16', 'fd00:10:96::/112', '10.244.0.0/16', 'fd00:10:244::/48'],
      addresses: ['10.96.0.10', 'fd00:10:96::a'],
    }),
  ]);
  function ask(name: string, type: keyof typeof TYPE = 'A'): Answer {
    const answer = handler({ name, type: TYPE[type], class: 1, transport: 'udp', client: '10.244.0.1' });
    return answer instanceof Promise ? assert.fail() : answer;
  }
  return { records, ask };
}

/** `A 10.96.0.1`, `SRV 0 100 80 web…`: what a person would look at. */
function show(record: ResourceRecord): string {
  if (record.type === 'A' || record.type === 'AAAA')
    return `${record.type} ${formatAddress(fromBytes(record.address))}`;
  if (record.type === 'SRV') return `SRV ${record.priority} ${record.weight} ${record.port} ${record.target}`;
  if (record.type === 'CNAME' || record.type === 'PTR' || record.type === 'NS')
    return `${record.type} ${record.target}`;
  if (record.type === 'TXT') return `TXT ${record.texts.map((text) => Buffer.from(text)).join()}`;
  return String(record.type);
}

function filled() {
  const { records, ask } = setUp();
  records.setNamespace('shop');
  records.setNamespace('empty');
  records.setService(
    service('web', {
      clusterIP: '10.96.0.20',
      clusterIPs: ['10.96.0.20', 'fd00:10:96::20'],
      ports: [
        { name: 'http', port: 80, protocol: 'TCP' },
        { name: 'dns', port: 53, protocol: 'UDP' },
      ],
    }),
  );
  records.setService(service('only6', { clusterIP: 'fd00:10:96::21', ports: [{ port: 80 }] }));
  records.setService(service('db', { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] }));
  records.setSlices('shop/db', [
    slice('db', [
      endpoint('10.244.1.5', { hostname: 'db-0', conditions: { ready: true } }),
      endpoint('10.244.2.5', { hostname: 'db-1' }),
      endpoint('10.244.2.6', { hostname: 'db-2', conditions: { ready: false } }),
      endpoint('10.244.3.7'),
    ]),
    slice('db', [endpoint('fd00:10:244:1::5', { hostname: 'db-0' })], { addressType: 'IPv6' }),
  ]);
  records.setService(service('early', { clusterIP: 'None', publishNotReadyAddresses: true }));
  records.setSlices('shop/early', [
    slice('early', [endpoint('10.244.1.9', { conditions: { ready: false } })]),
  ]);
  records.setService(service('pending', { ports: [{ port: 80 }] }));
  records.setService(service('out', { type: 'ExternalName', externalName: 'www.example.com.' }));
  records.setService(service('inside', { type: 'ExternalName', externalName: 'web.shop.svc.cluster.local' }));
  records.setService(
    service('nowhere', { type: 'ExternalName', externalName: 'gone.shop.svc.cluster.local' }),
  );
  records.setService(service('loop', { type: 'ExternalName', externalName: 'loop.shop.svc.cluster.local' }));
  records.synced();
  return { records, ask };
}

const zone = 'svc.cluster.local';
const answered: readonly [string, keyof typeof TYPE, string[]][] = [
  [`web.shop.${zone}`, 'A', ['A 10.96.0.20']],
  [`web.shop.${zone}`, 'AAAA', ['AAAA fd00:10:96::20']],
  [`only6.shop.${zone}`, 'AAAA', ['AAAA fd00:10:96::21']],
  [`_http._tcp.web.shop.${zone}`, 'SRV', [`SRV 0 100 80 web.shop.${zone}`]],
  [`_dns._udp.web.shop.${zone}`, 'SRV', [`SRV 0 100 53 web.shop.${zone}`]],
  [`db.shop.${zone}`, 'A', ['A 10.244.1.5', 'A 10.244.2.5', 'A 10.244.3.7']],
  [`db.shop.${zone}`, 'AAAA', ['AAAA fd00:10:244:1::5']],
  [`db-0.db.shop.${zone}`, 'A', ['A 10.244.1.5']],
  [`10-244-3-7.db.shop.${zone}`, 'A', ['A 10.244.3.7']],
  [
    `_http._tcp.db.shop.${zone}`,
    'SRV',
    ['db-0', 'db-1', '10-244-3-7'].map((host) => `SRV 0 100 8080 ${host}.db.shop.${zone}`),
  ],
  [`early.shop.${zone}`, 'A', ['A 10.244.1.9']],
  [`out.shop.${zone}`, 'A', ['CNAME www.example.com']],
  [`out.shop.${zone}`, 'CNAME', ['CNAME www.example.com']],
  [`inside.shop.${zone}`, 'A', [`CNAME web.shop.${zone}`, 'A 10.96.0.20']],
  ['20.0.96.10.in-addr.arpa', 'PTR', [`PTR web.shop.${zone}`]],
  ['5.1.244.10.in-addr.arpa', 'PTR', [`PTR db-0.db.shop.${zone}`]],
  [
    `0.2.0.0.${'0.'.repeat(12)}0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa`.replace(
      /^.*$/,
      reverse6('fd00001000960000'),
    ),
    'PTR',
    [`PTR web.shop.${zone}`],
  ],
  ['dns-version.cluster.local', 'TXT', ['TXT 1.1.0']],
  ['cluster.local', 'SOA', ['6'].map(() => 'SOA')],
  ['cluster.local', 'NS', ['NS ns.dns.cluster.local']],
  ['ns.dns.cluster.local', 'A', ['A 10.96.0.10']],
  [`web.shop.${zone}`, 'ANY', ['A 10.96.0.20']],
];

/** The reverse name of PREFIX::20. */
function reverse6(prefix: string): string {
  const hex = `${prefix}${'0'.repeat(14)}20`;
  return `${hex.split('').reverse().join('.')}.ip6.arpa`;
}

for (const [name, type, expected] of answered)
  test(`${name} ${type} is ${expected.join(', ')}`, () => {
    const answer = filled().ask(name, type);
    assert.equal(answer.rcode, RCODE.NOERROR);
    assert.equal(answer.authoritative, true);
    assert.deepEqual(answer.answers.map(show), expected);
    assert.deepEqual(answer.authorities, []);
  });

for (const [name, type] of [
  [`web.shop.${zone}`, 'TXT'],
  [`only6.shop.${zone}`, 'A'],
  [`pending.shop.${zone}`, 'A'],
  [`db-1.db.shop.${zone}`, 'AAAA'],
  [`_tcp.web.shop.${zone}`, 'A'],
  [`_http._tcp.web.shop.${zone}`, 'A'],
  [`shop.${zone}`, 'A'],
  [`empty.${zone}`, 'A'],
  [zone, 'A'],
  ['cluster.local', 'A'],
  ['dns.cluster.local', 'A'],
  ['20.0.96.10.in-addr.arpa', 'A'],
  ['96.10.in-addr.arpa', 'PTR'],
  ['0.96.10.in-addr.arpa', 'PTR'],
] as const)
  test(`${name} exists without ${type}`, () => {
    const answer = filled().ask(name, type);
    assert.deepEqual([answer.rcode, answer.answers.length], [RCODE.NOERROR, 0]);
    assert.deepEqual(answer.authorities.map(show), ['SOA']);
  });

for (const [name, type] of [
  [`nope.shop.${zone}`, 'A'],
  [`web.nope.${zone}`, 'A'],
  [`nope.${zone}`, 'A'],
  [`db-2.db.shop.${zone}`, 'A'],
  [`_nope._tcp.web.shop.${zone}`, 'SRV'],
  [`_http._udp.web.shop.${zone}`, 'SRV'],
  [`x.web.shop.${zone}`, 'A'],
  ['web.shop.cluster.local', 'A'],
  ['example.com.cluster.local', 'A'],
  ['99.0.96.10.in-addr.arpa', 'PTR'],
  ['6.2.244.10.in-addr.arpa', 'PTR'],
] as const)
  test(`${name} does not exist`, () => {
    const answer = filled().ask(name, type);
    assert.deepEqual([answer.rcode, answer.answers.length], [RCODE.NXDOMAIN, 0]);
    assert.deepEqual(answer.authorities.map(show), ['SOA']);
  });

for (const name of [
  'example.com',
  'local',
  '',
  'xcluster.local',
  '1.0.97.10.in-addr.arpa',
  '8.8.8.8.in-addr.arpa',
])
  test(`"${name}" is nobody's here and refused`, () => assert.equal(filled().ask(name).rcode, RCODE.REFUSED));

test('before the data are complete nothing of ours is denied nor half-answered', () => {
  const { records, ask } = setUp();
  records.setService(service('web', { clusterIP: '10.96.0.20' }));
  for (const name of [`web.shop.${zone}`, `gone.shop.${zone}`, '20.0.96.10.in-addr.arpa'])
    assert.equal(ask(name).rcode, RCODE.SERVFAIL);
  assert.equal(ask('example.com').rcode, RCODE.REFUSED);
  records.synced();
  assert.equal(ask(`web.shop.${zone}`).rcode, RCODE.NOERROR);
  assert.equal(ask(`gone.shop.${zone}`).rcode, RCODE.NXDOMAIN);
});

test('SRV answers bring the addresses of their targets', () => {
  const { additionals } = filled().ask(`_http._tcp.db.shop.${zone}`, 'SRV');
  assert.deepEqual(additionals.map(show), [
    'A 10.244.1.5',
    'AAAA fd00:10:244:1::5',
    'A 10.244.2.5',
    'A 10.244.3.7',
  ]);
});

test('an alias to what is gone says so, one to itself ends', () => {
  const { ask } = filled();
  const gone = ask(`nowhere.shop.${zone}`);
  assert.deepEqual([gone.rcode, gone.answers.map(show)], [RCODE.NXDOMAIN, [`CNAME gone.shop.${zone}`]]);
  assert.equal(ask(`loop.shop.${zone}`).rcode, RCODE.SERVFAIL);
});

test('a service that changes kind, endpoints or goes takes its old names along', () => {
  const { records, ask } = filled();
  records.setSlices('shop/db', [slice('db', [endpoint('10.244.1.6', { hostname: 'db-0' })])]);
  assert.deepEqual(ask(`db.shop.${zone}`).answers.map(show), ['A 10.244.1.6']);
  assert.equal(ask(`db-1.db.shop.${zone}`).rcode, RCODE.NXDOMAIN);
  assert.equal(ask('5.1.244.10.in-addr.arpa', 'PTR').rcode, RCODE.NXDOMAIN);
  records.setService(service('db', { clusterIP: '10.96.0.30' }));
  assert.deepEqual(ask(`db.shop.${zone}`).answers.map(show), ['A 10.96.0.30']);
  assert.equal(ask(`db-0.db.shop.${zone}`).rcode, RCODE.NXDOMAIN);
  records.removeService('shop/db');
  records.removeService('shop/db');
  assert.equal(ask(`db.shop.${zone}`).rcode, RCODE.NXDOMAIN);
});

test('slices may come before their service, and stay when it comes back', () => {
  const { records, ask } = setUp();
  records.synced();
  records.setSlices('shop/db', [slice('db', [endpoint('10.244.1.5')])]);
  for (let i = 0; i < 2; i++) {
    records.setService(service('db', { clusterIP: 'None' }));
    assert.deepEqual(ask(`db.shop.${zone}`).answers.map(show), ['A 10.244.1.5']);
    records.removeService('shop/db');
  }
});

test('one address with two names answers both, and keeps one when the other goes', () => {
  const { records, ask } = setUp();
  records.synced();
  for (const name of ['a', 'b']) {
    records.setService(service(name, { clusterIP: 'None' }));
    records.setSlices(`shop/${name}`, [slice(name, [endpoint('10.244.1.5', { hostname: 'x' })])]);
  }
  const names = () => ask('5.1.244.10.in-addr.arpa', 'PTR').answers.map(show).sort();
  assert.deepEqual(names(), [`PTR x.a.shop.${zone}`, `PTR x.b.shop.${zone}`]);
  records.removeService('shop/a');
  assert.deepEqual(names(), [`PTR x.b.shop.${zone}`]);
});

test('a namespace exists while it is named or has services', () => {
  const { records, ask } = setUp();
  records.synced();
  const code = () => ask(`shop.${zone}`).rcode;
  assert.equal(code(), RCODE.NXDOMAIN);
  records.setService(service('web', {}));
  records.setService(service('web', { clusterIP: '10.96.0.9' }));
  assert.equal(code(), RCODE.NOERROR);
  records.removeService('shop/web');
  assert.equal(code(), RCODE.NXDOMAIN);
  records.setNamespace('shop');
  assert.equal(code(), RCODE.NOERROR);
  records.removeNamespace('shop');
  assert.equal(code(), RCODE.NXDOMAIN);
});

const arbitrarySpec: fc.Arbitrary<Spec> = fc.oneof(
  fc.nat(9).map((n): Spec => ({ clusterIP: `10.96.0.${n}`, ports: [{ name: 'http', port: 80 }] })),
  fc.boolean().map((all): Spec => ({ clusterIP: 'None', publishNotReadyAddresses: all, ports: [] })),
  fc.constant<Spec>({ type: 'ExternalName', externalName: 'a.shop.svc.cluster.local' }),
);
const arbitraryEndpoint = fc
  .tuple(fc.nat(9), fc.boolean(), fc.option(fc.constantFrom('h0', 'h1'), { nil: undefined }))
  .map(([n, ready, hostname]) => endpoint(`10.244.0.${n}`, { conditions: { ready }, hostname }));
const change = fc.oneof(
  fc.tuple(fc.constant('service' as const), fc.constantFrom('a', 'b', 'c'), arbitrarySpec),
  fc.tuple(
    fc.constant('slices' as const),
    fc.constantFrom('a', 'b', 'c'),
    fc.array(arbitraryEndpoint, { maxLength: 4 }),
  ),
  fc.tuple(fc.constant('remove' as const), fc.constantFrom('a', 'b', 'c'), fc.constant(undefined)),
);

test('any sequence of changes gives what the last state gives from scratch', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const live = setUp();
      const services = new Map<string, Service>();
      const slices = new Map<string, EndpointSlice[]>();
      for (const [what, name, value] of changes) {
        if (what === 'service') {
          services.set(name, service(name, value));
          live.records.setService(service(name, value));
        } else if (what === 'slices') {
          slices.set(name, [slice(name, value)]);
          live.records.setSlices(`shop/${name}`, [slice(name, value)]);
        } else {
          services.delete(name);
          live.records.removeService(`shop/${name}`);
        }
      }
      const fresh = setUp();
      for (const each of services.values()) fresh.records.setService(each);
      for (const [name, list] of slices) fresh.records.setSlices(`shop/${name}`, list);
      for (const each of [live, fresh]) each.records.synced();
      assert.equal(live.records.size, fresh.records.size);
      const look = (each: typeof live, name: string, type: 'A' | 'SRV' | 'PTR') => {
        const { rcode, answers } = each.ask(name, type);
        return [rcode, answers.map(show).sort()];
      };
      const below = ['', 'h0.', 'h1.', '10-244-0-3.', '_http._tcp.', '_tcp.'];
      for (const name of ['a', 'b', 'c'].flatMap((s) => below.map((b) => `${b}${s}.shop.${zone}`)))
        for (const type of ['A', 'SRV'] as const)
          assert.deepEqual(look(live, name, type), look(fresh, name, type));
      for (let n = 0; n < 10; n++)
        for (const range of ['0.96.10', '0.244.10'])
          assert.deepEqual(
            look(live, `${n}.${range}.in-addr.arpa`, 'PTR'),
            look(fresh, `${n}.${range}.in-addr.arpa`, 'PTR'),
          );
    }),
  );
});
