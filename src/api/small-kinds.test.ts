import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { loadBalancerIpPool } from './balancer-pool.ts';
import { ciliumCidrGroup } from './cilium-cidr-group.ts';
import { age, humanDuration } from './columns.ts';
import { configMap } from './config-map.ts';
import { endpointSlice } from './endpoint-slice.ts';
import { event } from './event.ts';
import {
  configKey,
  dns1035Label,
  dns1123Label,
  dns1123Subdomain,
  labelValue,
  portName,
  qualifiedName,
} from './formats.ts';
import { lease } from './lease.ts';
import { ANNOTATIONS_LIMIT } from './metadata.ts';
import { namespace } from './namespace.ts';
import { node } from './node.ts';
import { quantityValue } from './quantity.ts';
import { secret } from './secret.ts';
import type { ConfigMap, EndpointSlice, LoadBalancerIpPool, UplinkProtection } from './types.ts';
import { uplinkProtection } from './uplink-protection.ts';

const texts = (errors: { field: string; message: string }[]) =>
  errors.map((e) => `${e.field}: ${e.message}`).join('\n');
const meta = (more: object = {}) => ({ name: 'x', namespace: 'n', ...more });

for (const [format, good, bad] of [
  [dns1123Label, ['a', 'a-b', '1', 'a'.repeat(63)], ['', '-a', 'a-', 'A', 'a.b', 'a'.repeat(64), 'a_b']],
  [dns1035Label, ['a', 'a-1'], ['1a', '', 'a-', 'a.b']],
  [dns1123Subdomain, ['a', 'a.b', '1.2'], ['a..b', '.a', 'a.', 'a'.repeat(254)]],
  [labelValue, ['', 'A_b.c-d', '1'], ['-', 'a b', 'a'.repeat(64), 'a/b']],
  [qualifiedName, ['a', 'x.y/A_b', 'a.b-c'], ['', '/a', 'a/', 'a/b/c', 'X/a', '-a', 'a'.repeat(64)]],
  [portName, ['http', 'http-2', 'a1'], ['', '1', 'a--b', '-a', 'a-', 'A', 'a-very-long-port-name']],
  [configKey, ['a', 'A_b.c', '.a'], ['', 'a/b', '.', '..', '..a', 'a b']],
] as const)
  test(`format: ${good.join(' ')} pass, ${bad.slice(0, 4).join(' ')} do not`, () => {
    for (const text of good) assert.deepEqual(format(text), [], text);
    for (const text of bad) assert.notDeepEqual(format(text), [], text);
  });

test('a group of ranges of Cilium’s has ranges', () => {
  const group = (spec: object) =>
    ({ apiVersion: 'cilium.io/v2', kind: 'CiliumCIDRGroup', metadata: { name: 'x' }, spec }) as never;
  assert.equal(
    texts(ciliumCidrGroup.validate(group({ externalCIDRs: ['10.0.0.0/8', '2001:db8::/32'] }))),
    '',
  );
  assert.match(texts(ciliumCidrGroup.validate(group({}))), /^spec.externalCIDRs: Required value/);
  assert.match(
    texts(ciliumCidrGroup.validate(group({ externalCIDRs: ['10.0.0.1'] }))),
    /^spec.externalCIDRs\[0\]: Invalid value: "10.0.0.1"/,
  );
});

test('metadata: names, labels, annotations, owners and finalizers are checked', () => {
  const errorsOf = (metadata: object) =>
    texts(configMap.validate({ apiVersion: 'v1', kind: 'ConfigMap', metadata } as ConfigMap));
  assert.equal(errorsOf(meta()), '');
  assert.match(errorsOf({ namespace: 'n' }), /metadata\.name: Required value: name or generateName/);
  assert.match(errorsOf({ name: 'x' }), /metadata\.namespace: Required/);
  assert.match(errorsOf(meta({ labels: { 'a b': 'c' } })), /metadata\.labels: Invalid value: "a b"/);
  assert.match(
    errorsOf(meta({ annotations: { big: 'x'.repeat(ANNOTATIONS_LIMIT) } })),
    /metadata\.annotations: Too long/,
  );
  assert.match(errorsOf(meta({ finalizers: ['a b'] })), /finalizers\[0\]/);
  const owner = { apiVersion: 'v1', kind: 'Pod', name: 'p', uid: 'u', controller: true };
  assert.equal(errorsOf(meta({ ownerReferences: [owner] })), '');
  assert.match(
    errorsOf(meta({ ownerReferences: [owner, { ...owner, name: 'q' }] })),
    /Only one reference can have Controller/,
  );
  assert.match(errorsOf(meta({ ownerReferences: [{ ...owner, uid: '' }] })), /ownerReferences\[0\]\.uid/);
  assert.equal(errorsOf(meta({ generateName: 'pod-' })), '');
});

test('metadata: what identifies an object stays', () => {
  const make = (more: object) =>
    ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: meta({ uid: 'u', ...more }) }) as ConfigMap;
  assert.deepEqual(configMap.validateUpdate(make({ labels: { a: 'b' } }), make({})), []);
  assert.match(texts(configMap.validateUpdate(make({ uid: 'v' }), make({}))), /metadata\.uid.*immutable/);
  const dying = { deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['a/b'] };
  assert.match(
    texts(configMap.validateUpdate(make({ ...dying, finalizers: ['a/b', 'c/d'] }), make(dying))),
    /no new finalizers/,
  );
});

test('config maps: keys, both kinds of data, size, immutability', () => {
  const make = (rest: object) =>
    ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: meta(), ...rest }) as ConfigMap;
  const errorsOf = (rest: object) => texts(configMap.validate(make(rest)));
  assert.equal(errorsOf({ data: { 'a.b': 'c' }, binaryData: { d: 'AAAA' } }), '');
  assert.match(errorsOf({ data: { 'a/b': 'c' } }), /data\[a\/b\]/);
  assert.match(errorsOf({ data: { a: 'c' }, binaryData: { a: 'AAAA' } }), /duplicate of key/);
  assert.match(errorsOf({ data: { a: 'c'.repeat(1024 * 1024 + 1) } }), /Too long/);
  const fixed = make({ data: { a: '1' }, immutable: true });
  assert.match(
    texts(configMap.validateUpdate(make({ data: { a: '2' }, immutable: true }), fixed)),
    /data.*immutable/,
  );
  assert.match(texts(configMap.validateUpdate(make({ data: { a: '1' } }), fixed)), /immutable: Forbidden/);
});

test('secrets: plain text is folded in, base64 is checked, types have their keys, values stay out of errors', () => {
  const make = (rest: object) =>
    secret.applyDefaults({ apiVersion: 'v1', kind: 'Secret', metadata: meta(), ...rest });
  const folded = make({ stringData: { a: 'hello' }, data: { a: 'eA==', b: 'eA==' } });
  assert.deepEqual(folded.data, { a: 'aGVsbG8=', b: 'eA==' });
  assert.equal(folded.stringData, undefined);
  assert.equal(folded.type, 'Opaque');
  const errors = texts(secret.validate(make({ data: { a: 'not base64!' } })));
  assert.match(errors, /data\[a\].*base64/);
  assert.doesNotMatch(errors, /not base64!/);
  assert.match(
    texts(secret.validate(make({ type: 'kubernetes.io/tls', data: { 'tls.crt': '' } }))),
    /data\[tls\.key\]: Required/,
  );
});

test('namespaces carry their name as a label and begin as Active', () => {
  const ns = namespace.applyDefaults({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'shop', labels: { a: 'b' } },
  });
  assert.deepEqual(ns.metadata.labels, { a: 'b', 'kubernetes.io/metadata.name': 'shop' });
  assert.equal(ns.status?.phase, 'Active');
  assert.deepEqual(ns.spec?.finalizers, ['kubernetes']);
  assert.equal(texts(namespace.validate(ns)), '');
});

test('nodes: ranges are checked and stay once given', () => {
  const make = (spec: object) =>
    node.applyDefaults({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n' }, spec });
  assert.equal(make({ podCIDRs: ['10.0.0.0/24', 'fd00::/64'] }).spec?.podCIDR, '10.0.0.0/24');
  assert.equal(texts(node.validate(make({ podCIDRs: ['10.0.0.0/24', 'fd00::/64'] }))), '');
  assert.match(
    texts(node.validate(make({ podCIDRs: ['10.0.0.0/24', '10.1.0.0/24'] }))),
    /no more than one CIDR/,
  );
  assert.match(texts(node.validate(make({ podCIDRs: ['x'] }))), /podCIDRs\[0\].*valid CIDR/);
  assert.equal(texts(node.validateUpdate(make({ podCIDRs: ['10.0.0.0/24'] }), make({}))), '');
  assert.match(
    texts(node.validateUpdate(make({ podCIDRs: ['10.1.0.0/24'] }), make({ podCIDRs: ['10.0.0.0/24'] }))),
    /may not change podCIDR/,
  );
});

test('endpoint slices: addresses are of the type, useful, and few enough', () => {
  const errorsOf = (rest: object) =>
    texts(
      endpointSlice.validate(
        endpointSlice.applyDefaults({
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: meta(),
          ...rest,
        } as EndpointSlice),
      ),
    );
  assert.equal(
    errorsOf({ addressType: 'IPv4', endpoints: [{ addresses: ['10.0.0.1'] }], ports: [{ port: 80 }] }),
    '',
  );
  assert.equal(errorsOf({ addressType: 'IPv6', endpoints: [{ addresses: ['fd00::1'] }] }), '');
  assert.match(errorsOf({ endpoints: [] }), /addressType: Required/);
  assert.match(errorsOf({ addressType: 'IPv4', endpoints: [{ addresses: ['fd00::1'] }] }), /valid IPv4/);
  assert.match(errorsOf({ addressType: 'IPv4', endpoints: [{ addresses: ['127.0.0.1'] }] }), /loopback/);
  assert.match(errorsOf({ addressType: 'IPv4', endpoints: [{ addresses: [] }] }), /at least 1 address/);
  assert.match(
    errorsOf({
      addressType: 'IPv4',
      endpoints: Array.from({ length: 1001 }, () => ({ addresses: ['10.0.0.1'] })),
    }),
    /Too many: 1001/,
  );
  assert.match(
    errorsOf({ addressType: 'IPv4', ports: [{ port: 1 }, { port: 2 }] }),
    /ports\[1\]\.name: Duplicate/,
  );
});

test('events belong to the namespace of what they are about', () => {
  const make = (involved: object, ns: string) =>
    event.applyDefaults({
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'e', namespace: ns },
      involvedObject: involved,
    });
  assert.equal(texts(event.validate(make({ namespace: 'a' }, 'a'))), '');
  assert.equal(texts(event.validate(make({}, 'default'))), '');
  assert.match(texts(event.validate(make({ namespace: 'a' }, 'b'))), /does not match event\.namespace/);
});

for (const [seconds, expected] of [
  [0, '0s'],
  [119, '119s'],
  [120, '2m'],
  [125, '2m5s'],
  [599, '9m59s'],
  [600, '10m'],
  [10799, '179m'],
  [10800, '3h'],
  [12000, '3h20m'],
  [28800, '8h'],
  [172799, '47h'],
  [172800, '2d'],
  [180000, '2d2h'],
  [691200, '8d'],
  [63072000, '2y'],
  [70000000, '2y80d'],
  [300000000, '9y'],
] as const)
  test(`${seconds} seconds are ${expected}`, () => assert.equal(humanDuration(seconds * 1000), expected));

test('an age of no time is unknown', () => {
  assert.equal(age(undefined, 0), '<unknown>');
  assert.equal(age('nonsense', 0), '<invalid>');
  assert.equal(age('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:01:00Z')), '60s');
});

test('quantities are numbers with units', () => {
  for (const [text, value] of [
    ['1', 1],
    ['100m', 0.1],
    ['1Ki', 1024],
    ['1.5Gi', 1.5 * 1024 ** 3],
    ['2e3', 2000],
    ['1E', 1e18],
    ['-1k', -1000],
    ['.5', 0.5],
  ] as const)
    assert.ok(Math.abs((quantityValue(text) ?? Number.NaN) - value) < 1e-6 * Math.abs(value) + 1e-9, text);
  for (const text of ['', 'x', '1 Gi', '1KI', '--1', '1e', '1Gi2'])
    assert.equal(quantityValue(text), undefined, text);
  fc.assert(fc.property(fc.nat(1e6), (n) => quantityValue(`${n}Ki`) === n * 1024));
});

test('pools hold ranges, by CIDR or by their ends', () => {
  const errors = (spec: LoadBalancerIpPool['spec']) =>
    loadBalancerIpPool
      .validate({
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumLoadBalancerIPPool',
        metadata: { name: 'a' },
        spec,
      })
      .map((error) => `${error.field}: ${error.message}`);
  assert.deepEqual(errors({ blocks: [{ cidr: '192.0.2.0/24' }, { start: 'fd00::1', stop: 'fd00::9' }] }), []);
  assert.deepEqual(
    errors({ blocks: [{ start: '192.0.2.7' }], serviceSelector: { matchLabels: { a: 'b' } } }),
    [],
  );
  const wrong: [object, RegExp][] = [
    [{}, /blocks\[0\]: Required value/],
    [{ cidr: '192.0.2.0' }, /blocks\[0\]\.cidr: Invalid value: "192\.0\.2\.0": must be a valid CIDR/],
    [{ cidr: '192.0.2.0/24', stop: '192.0.2.9' }, /stop: Forbidden: may not be used with `cidr`/],
    [{ start: '192.0.2.9', stop: '192.0.2.1' }, /stop: Invalid value: .* not before it/],
    [{ start: '192.0.2.9', stop: 'fd00::1' }, /stop: Invalid value: .* of the family/],
  ];
  for (const [block, words] of wrong) assert.match(errors({ blocks: [block] }).join(), words);
});

test('what protects an uplink has ranges, and rates that can be kept', () => {
  const errors = (spec: UplinkProtection['spec']) =>
    uplinkProtection
      .validate({
        apiVersion: 'heddle.dev/v1alpha1',
        kind: 'UplinkProtection',
        metadata: { name: 'a' },
        spec,
      })
      .map((error) => `${error.field}: ${error.message}`);
  assert.deepEqual(
    errors({
      denied: ['198.51.100.0/24', '2001:db8::/32'],
      limits: { packets: { perSecond: 1000, burst: 50 }, allConnections: { perSecond: 1 } },
      nodeSelector: { matchLabels: { a: 'b' } },
    }),
    [],
  );
  assert.deepEqual(errors({}), []);
  const wrong: [UplinkProtection['spec'], RegExp][] = [
    [{ denied: ['198.51.100.7', '::/0'] }, /^spec\.denied\[0\]: Invalid value: .* must be a valid CIDR/],
    [{ limits: { packets: { perSecond: 0 } } }, /^spec\.limits\.packets\.perSecond: .* between 1 and/],
    [{ limits: { connections: { perSecond: 1, burst: 1e9 } } }, /^spec\.limits\.connections\.burst: /],
    [{ nodeSelector: { matchLabels: { 'a b': 'c' } } }, /^spec\.nodeSelector\.matchLabels/],
  ];
  for (const [spec, words] of wrong) assert.match(errors(spec).join(), words);
});

test('leases last longer than nothing', () => {
  const of = (leaseDurationSeconds: number) =>
    lease.validate({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'a', namespace: 'n' },
      spec: { leaseDurationSeconds },
    });
  assert.deepEqual(of(1), []);
  assert.equal(of(0)[0]?.field, 'spec.leaseDurationSeconds');
});
