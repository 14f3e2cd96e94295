import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot, testNetns } from './test-netns.ts';
import { openRoute } from './route.ts';
import { probeTunnels } from './tunnel-features.ts';

test('what the kernel lacks for a tunnel is named by its option', { skip: needsRoot }, () => {
  const features = probeTunnels();
  assert.equal(features.vxlan.why, undefined);
  const options = { geneve: 'CONFIG_GENEVE', gre: 'CONFIG_NET_IPGRE', ip6gre: 'CONFIG_IPV6_GRE' } as const;
  for (const [name, option] of Object.entries(options)) {
    const { ok, why, hint } = features[name as keyof typeof options];
    if (ok) assert.equal(hint, undefined);
    else assert.ok(why !== undefined && hint?.includes(option), name);
  }
});

for (const kind of ['geneve', 'gre', 'ip6gre'] as const)
  test(`${kind}: a link and routes through it read as they were written`, { skip: needsRoot }, (t) => {
    const { ok, why } = probeTunnels()[kind];
    if (!ok) return t.skip(`${why}: npm run check:deep runs it in a test-bed (not in CI)`);
    const ns = testNetns(t);
    const route = openRoute(ns);
    t.after(() => route.close());
    const [name, mac] = ['tun0', '02:72:00:00:00:01'];
    route.addRouteTunnel({
      name,
      kind,
      mtu: 1400,
      alias: 'heddle:test',
      ...(kind === 'geneve' ? { port: 6081, mac } : {}),
    });
    route.setLink(name, { up: true, ipv6Addresses: 'none' });
    const link = route.link(name)!;
    assert.deepEqual(link.tunnel, { byRoute: true, port: kind === 'geneve' ? 6081 : undefined });
    assert.deepEqual([link.kind, link.mtu, link.alias, link.up], [kind, 1400, 'heddle:test', true]);
    const tunnel =
      kind === 'ip6gre'
        ? { id: 0, dst: '2001:db8::2', src: '2001:db8::1' }
        : { id: kind === 'gre' ? 0 : 72, dst: '192.0.2.2', src: '192.0.2.1' };
    for (const dst of ['198.51.100.0/24', '2001:db8:1::/64'])
      route.replaceRoute({ dst, dev: name, metric: 7, mtu: 1300, tunnel });
    const found = route.routes().filter(({ protocol, dev }) => protocol === 72 && dev === link.index);
    assert.deepEqual(
      found.map(({ dst, metric, mtu, tunnel: end }) => ({ dst, metric, mtu, end })),
      ['198.51.100.0/24', '2001:db8:1::/64'].map((dst) => ({ dst, metric: 7, mtu: 1300, end: tunnel })),
    );
    assert.ok(route.deleteRoute({ dst: '198.51.100.0/24', dev: name, metric: 7 }));
  });
