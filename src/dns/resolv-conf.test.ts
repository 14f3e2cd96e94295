import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../api/types.ts';
import { formatResolvConf, resolvConfOf } from './resolv-conf.ts';

type Spec = NonNullable<Pod['spec']>;
const pod = (spec: Partial<Spec>): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'shop' },
  spec: { containers: [], ...spec },
});
const settings = {
  nameservers: ['10.96.0.10', 'fd00:10:96::a'],
  clusterDomain: 'cluster.local',
  node: { nameservers: ['192.0.2.1'], search: ['example.com'] },
};
const cluster =
  'nameserver 10.96.0.10\nnameserver fd00:10:96::a\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.com\noptions ndots:5\n';
const node = 'nameserver 192.0.2.1\nsearch example.com\n';

for (const [what, spec, expected] of [
  ['no policy', {}, cluster],
  ['ClusterFirst', { dnsPolicy: 'ClusterFirst' }, cluster],
  ["ClusterFirst on the node's network", { dnsPolicy: 'ClusterFirst', hostNetwork: true }, node],
  ['ClusterFirstWithHostNet', { dnsPolicy: 'ClusterFirstWithHostNet', hostNetwork: true }, cluster],
  ['Default', { dnsPolicy: 'Default' }, node],
  [
    'None',
    {
      dnsPolicy: 'None',
      dnsConfig: { nameservers: ['192.0.2.9'], searches: ['a.b.'], options: [{ name: 'edns0' }] },
    },
    'nameserver 192.0.2.9\nsearch a.b\noptions edns0\n',
  ],
  [
    'a config that adds and replaces',
    {
      dnsConfig: {
        nameservers: ['192.0.2.8', '192.0.2.9', '10.96.0.10'],
        searches: ['svc.cluster.local'],
        options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
      },
    },
    'nameserver 10.96.0.10\nnameserver fd00:10:96::a\nnameserver 192.0.2.8\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.com\noptions ndots:2 edns0\n',
  ],
] as const satisfies readonly [string, unknown, string][])
  test(`${what} gives its file`, () => {
    assert.equal(formatResolvConf(resolvConfOf(pod(spec as Partial<Spec>), settings)), expected);
  });

test('ndots is a number for who resolves by himself', () => {
  assert.equal(resolvConfOf(pod({}), settings).ndots, 5);
  assert.equal(resolvConfOf(pod({ dnsPolicy: 'None' }), settings).ndots, 1);
});

test('a value cannot break out of its line', () => {
  const conf = resolvConfOf(
    pod({ dnsConfig: { searches: ['a\nnameserver 6.6.6.6', 'ok'], options: [{ name: 'x y' }] } }),
    settings,
  );
  assert.doesNotMatch(formatResolvConf(conf), /6\.6\.6\.6|x y/);
});

test('a search list stays within 32 names and 2048 bytes', () => {
  const searches = Array.from({ length: 40 }, (_, i) => `${'x'.repeat(100)}.n${i}`);
  const { search } = resolvConfOf(pod({ dnsConfig: { searches } }), settings);
  assert.ok(search.length < 32 && search.join(' ').length <= 2048);
});
