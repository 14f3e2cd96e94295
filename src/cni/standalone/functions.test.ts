import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { deepOnly } from '../../../test/scenarios/deep-only.ts';
import { readLinkSettings } from '../../kernel/link-settings.ts';
import type { Netns } from '../../kernel/netns.ts';
import { readSysctl } from '../../kernel/sysctl.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { withRoute } from '../main/inside.ts';
import type { CniResult } from '../types.ts';
import { addressesOf, type Host, isCutOff, peerSeen, testHost } from '../testing/host.ts';

const it = (name: string, fn: (t: TestContext) => Promise<void>) => test(name, { skip: needsRoot }, fn);

const settings = (ns: Netns) => {
  const ifindex = withRoute(ns, (route) => route.link('eth0')?.index ?? 0);
  return readLinkSettings({ ifindex, ns });
};

/** As a runtime runs a list: each entry with the result of the one before. */
async function addList(host: Host, id: string, list: readonly object[]): Promise<CniResult> {
  let prevResult: CniResult | undefined;
  for (const config of list) {
    const { code, out } = await host.cni('ADD', id, { ...config, ...(prevResult ? { prevResult } : {}) });
    assert.equal(code, 0, JSON.stringify(out));
    prevResult = out;
  }
  assert.ok(prevResult);
  return prevResult;
}

async function delList(
  host: Host,
  id: string,
  list: readonly object[],
  prevResult: CniResult,
): Promise<void> {
  for (const config of list.toReversed())
    assert.equal((await host.cni('DEL', id, { ...config, prevResult })).code, 0);
}

const filter = async (host: Host): Promise<string> =>
  (await host.run(['iptables', '-S'])).stdout + (await host.run(['ip6tables', '-S'])).stdout;

for (const [backend, elsewhere] of [
  ['iptables', false],
  ['nftables', deepOnly('iptables runs the list')],
] as const)
  test(`a list of four entries on a machine that drops what it forwards, the firewall by ${backend}`, {
    skip: needsRoot || elsewhere,
  }, async (t) => {
    const host = await testHost(t);
    await host.startAgent();
    for (const program of ['iptables', 'ip6tables']) await host.run([program, '-P', 'FORWARD', 'DROP']);
    const before = { rules: await filter(host), inventory: host.inventory() };
    const one = host.container('one');
    const runtimeConfig = { portMappings: [{ hostPort: 8080, containerPort: 80 }] };
    const list = [
      { type: 'heddle-cni' },
      { type: 'heddle-portmap', runtimeConfig },
      { type: 'heddle-bandwidth', ingressRate: 8e9, ingressBurst: 8e8 },
      { type: 'heddle-firewall', backend },
    ];
    const plain = await addList(host, 'one', list.slice(0, 3));
    assert.ok(await isCutOff(one, '192.0.2.2', 80), 'dropped by the machine');
    await delList(host, 'one', list.slice(0, 3), plain);
    const result = await addList(host, 'one', list);
    const there = { from: one, to: host.outside };
    assert.equal(await peerSeen({ ...there, address: '192.0.2.2', port: 80 }), '192.0.2.1');
    assert.equal(await peerSeen({ ...there, address: '2001:db8::2', port: 80 }), '2001:db8::1');
    const mapped = { from: host.outside, to: one, address: '192.0.2.1', port: 8080, listen: 80 };
    assert.equal(await peerSeen(mapped), '192.0.2.2', 'what a host port leads to it');
    assert.ok(
      await isCutOff(host.outside, addressesOf(result as never)[0] ?? '', 80),
      'not what nobody asked for',
    );
    for (const config of list)
      assert.equal((await host.cni('CHECK', 'one', { ...config, prevResult: result })).code, 0, config.type);
    for (const program of ['iptables', 'ip6tables']) await host.run([program, '-F', 'FORWARD']);
    const firewall = { ...list[3], prevResult: result };
    assert.match(
      (await host.cni('CHECK', 'one', firewall)).out?.msg ?? '',
      /does not let packets of 10\.9\.1\.\d+ pass/,
    );
    await host.stopAgent();
    await host.startAgent();
    assert.equal((await host.cni('CHECK', 'one', firewall)).code, 0, 'the next agent has put it right');
    await delList(host, 'one', list, result);
    assert.equal(await filter(host), before.rules);
    assert.deepEqual(host.inventory(), before.inventory);
  });

it('tuning changes an interface and its network, within the main entry or alone, and DEL puts the interface back', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const before = host.inventory();
  const one = host.container('one');
  const fields = { promisc: true, allmulti: true, mtu: 1300, txQLen: 77, mac: '02:00:00:00:00:42' };
  const sysctl = { 'net.ipv4.conf.IFNAME.arp_ignore': '1', 'net.core.somaxconn': '500' };
  const main = { type: 'heddle-cni' };
  const tuning = { type: 'heddle-tuning', ...fields, sysctl };
  const made = await addList(host, 'one', [main]);
  const original = settings(one);
  const { out: tuned } = await host.cni('ADD', 'one', { ...tuning, prevResult: made });
  const { type: _, sysctl: __, ...expected } = tuning;
  assert.deepEqual(settings(one), expected);
  assert.equal(tuned?.interfaces?.[1]?.mac, fields.mac);
  assert.equal(readSysctl(one, 'net/ipv4/conf/eth0/arp_ignore'), '1');
  assert.equal(readSysctl(one, 'net.core.somaxconn'), '500');
  assert.equal((await host.cni('CHECK', 'one', { ...tuning, prevResult: tuned })).code, 0);
  await host.cni('ADD', 'one', { ...tuning, prevResult: made });
  assert.equal((await host.cni('DEL', 'one', tuning)).code, 0);
  assert.deepEqual(settings(one), original, 'as it was before the first of both');
  assert.equal((await host.cni('DEL', 'one', main)).code, 0);
  const within = await addList(host, 'one', [{ ...main, tuning: { mtu: 1400, sysctl }, firewall: {} }]);
  assert.equal(settings(one).mtu, 1400);
  assert.match(await filter(host), /-A HEDDLE-FORWARD .* -j ACCEPT/);
  await delList(host, 'one', [main], within);
  const refused = await host.cni('ADD', 'one', { ...tuning, prevResult: { cniVersion: '1.1.0' } });
  assert.match(`${refused.out?.code} ${refused.out?.msg}`, /^7 .*needs a prevResult with eth0/);
  assert.deepEqual(host.inventory(), before);
  assert.doesNotMatch(await filter(host), /HEDDLE/);
});
