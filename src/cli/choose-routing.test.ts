import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TunnelFeatures } from '../kernel/tunnel-features.ts';
import { askedWay, chooseRouting } from './choose-routing.ts';

const lacks = (...names: string[]): TunnelFeatures =>
  Object.fromEntries(
    ['vxlan', 'geneve', 'gre', 'ip6gre'].map((name) => [
      name,
      { ok: !names.includes(name), purpose: 'x', why: 'EOPNOTSUPP', hint: `CONFIG_${name.toUpperCase()}` },
    ]),
  ) as unknown as TunnelFeatures;

const never = (): TunnelFeatures => assert.fail('asked the kernel');

test('flags name the way, in the words of other networks too', () => {
  const ways = [
    [{}, undefined],
    [{ routing: 'overlay' }, 'vxlan'],
    [{ routing: 'tunnel', tunnel: 'geneve' }, 'geneve'],
    [{ tunnel: 'gre' }, 'gre'],
    [{ routing: 'native' }, 'native'],
    [{ routing: 'direct' }, 'native'],
  ] as const;
  for (const [flags, way] of ways) assert.equal(askedWay(flags), way);
  for (const flags of [
    { routing: 'bgp' },
    { tunnel: 'ipip' },
    { routing: 'native', tunnel: 'vxlan' },
    { routing: 'constructor' },
  ])
    assert.throws(() => askedWay(flags), { code: 'BadFlag' });
});

test('what is not said is as the cluster had it', () => {
  assert.equal(chooseRouting({}, undefined, false, never), undefined);
  assert.equal(chooseRouting({}, 'native', false, never), 'native');
  assert.equal(
    chooseRouting({ routing: 'overlay' }, 'geneve', false, () => lacks()),
    'geneve',
  );
  assert.equal(chooseRouting({ routing: 'overlay' }, 'native', false, never), 'vxlan');
  assert.equal(chooseRouting({ tunnel: 'vxlan' }, 'geneve', false, never), 'vxlan');
});

test('what the kernel lacks is refused by the name of its option', () => {
  assert.throws(() => chooseRouting({ tunnel: 'geneve' }, undefined, false, () => lacks('geneve')), {
    code: 'NoTunnel',
    hint: /CONFIG_GENEVE/,
  });
  assert.equal(
    chooseRouting({ tunnel: 'gre' }, undefined, false, () => lacks('ip6gre')),
    'gre',
  );
  assert.throws(() => chooseRouting({ tunnel: 'gre' }, undefined, true, () => lacks('ip6gre')), {
    hint: /CONFIG_IP6GRE/,
  });
});
