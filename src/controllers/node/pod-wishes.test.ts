import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CiliumPodIpPool } from '../../api/ipam-types.ts';
import { HeddleError } from '../../lib/errors.ts';
import { addressedNamespace, FIXED, podWishes, STICKY } from './pod-wishes.ts';

const pod = (annotations: Record<string, string> = {}, labels: Record<string, string> = {}) => ({
  metadata: { name: 'web-0', namespace: 'shop', annotations, labels },
});
const pool = (name: string, spec: CiliumPodIpPool['spec']): CiliumPodIpPool => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumPodIPPool',
  metadata: { name },
  spec,
});
const namespace = (annotations: Record<string, string>, labels: Record<string, string> = {}) =>
  addressedNamespace({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'shop', annotations, labels },
  });
const ip4 = { ipv4: { cidrs: ['10.0.0.0/16'], maskSize: 24 } };
const ip6 = { ipv6: { cidrs: ['fd00::/48'], maskSize: 64 } };

test('the annotation of the pod goes before that of its namespace, and both before selectors', () => {
  const other = namespace({ 'ipam.cilium.io/ip-pool': 'b' });
  const selecting = [pool('c', { ...ip4, podSelector: {} })];
  assert.deepEqual(podWishes(pod({ 'ipam.cilium.io/ip-pool': 'a' }), other, selecting), {
    pools: { 4: 'a', 6: 'a' },
  });
  assert.deepEqual(podWishes(pod(), other, selecting), { pools: { 4: 'b', 6: 'b' } });
  assert.deepEqual(podWishes(pod(), namespace({}), selecting), { pools: { 4: 'c', 6: 'c' } });
  assert.deepEqual(podWishes(pod(), undefined, []), {});
});

test('a pool may be named for one family', () => {
  const one = pod({ 'ipam.cilium.io/ipv6-pool': 'a' });
  assert.deepEqual(podWishes(one, undefined, []), { pools: { 4: 'default', 6: 'a' } });
});

test('both selectors of a pool must select, by labels and by name', () => {
  const pools = [
    pool('a', {
      ...ip4,
      podSelector: { matchLabels: { app: 'web' } },
      namespaceSelector: { matchLabels: { t: '1' } },
    }),
    pool('b', { ...ip6, podSelector: { matchLabels: { 'io.kubernetes.pod.name': 'web-0' } } }),
  ];
  const web = pod({}, { app: 'web' });
  assert.deepEqual(podWishes(web, namespace({}, { t: '1' }), pools), { pools: { 4: 'a', 6: 'b' } });
  assert.deepEqual(podWishes(web, namespace({}, { t: '2' }), pools), { pools: { 4: 'b', 6: 'b' } });
});

test('two pools that select a pod for one family are named, and neither is taken', () => {
  const pools = [pool('b', { ...ip4, podSelector: {} }), pool('a', { ...ip4, namespaceSelector: {} })];
  assert.throws(
    () => podWishes(pod(), namespace({}), pools),
    /pools a and b both select the pod shop\/web-0 for IPv4/,
  );
});

test('fixed addresses and times are read, and what cannot be is refused with its value', () => {
  const of = (annotations: Record<string, string>) => podWishes(pod(annotations), undefined, []);
  assert.deepEqual(of({ [FIXED]: '["10.0.0.9","FD00:0::9"]' }).addresses, ['10.0.0.9', 'fd00::9']);
  for (const text of [
    '',
    '10.0.0.9',
    '[]',
    '["x"]',
    '[7]',
    '{}',
    '["10.0.0.1","10.0.0.2"]',
    '["10.0.0.0/24"]',
  ])
    assert.throws(() => of({ [FIXED]: text }), { code: 'AddressWishBad' }, text);
  assert.equal(of({ [STICKY]: 'true' }).sticky, 3_600_000);
  assert.equal(of({ [STICKY]: '1h30m' }).sticky, 5_400_000);
  assert.equal(of({ [STICKY]: 'false' }).sticky, undefined);
  for (const text of ['', 'yes', '0s', '1000h', '5', '-1m', '1h x'])
    assert.throws(() => of({ [STICKY]: text }), { code: 'AddressWishBad' }, text);
});

test('whatever annotations say, they are read or refused by name', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (fixed, sticky) => {
      try {
        podWishes(pod({ [FIXED]: fixed, [STICKY]: sticky }), undefined, []);
      } catch (error) {
        assert.ok(error instanceof HeddleError);
      }
    }),
  );
});
