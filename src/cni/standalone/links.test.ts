/**
 * ipvlan and VLANs of bridges, which many kernels lack, side by side with the reference's plugins. test/deep runs this
 * under a kernel that has both.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { type Answer, type Host, isCutOff, peerSeen, testHost } from '../testing/host.ts';

const skip =
  process.env['HEDDLE_DEEP'] === '1'
    ? needsRoot
    : 'needs a kernel with ipvlan and VLAN filtering: npm run check:deep runs it in a test-bed (not in CI)';

const pathOf = (host: Host, id: string): string => `${host.folder}/container-${id}`;

async function add(host: Host, id: string, config: object): Promise<Answer> {
  const { code, out } = await host.cni('ADD', id, config);
  assert.equal(code, 0, JSON.stringify(out));
  assert.ok(out);
  return out;
}

/** The reference's own plugin, as a runtime calls it. */
async function reference(host: Host, command: string, id: string, config: { type: string }): Promise<void> {
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_NETNS: pathOf(host, id),
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/usr/lib/cni',
  };
  const input = JSON.stringify({ cniVersion: '1.0.0', name: 'reference', ...config });
  const { code, stdout, stderr } = await host.run([`/usr/lib/cni/${config.type}`], env, input);
  assert.equal(code, 0, `${stdout}${stderr}`);
}

async function words(host: Host, argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await host.run(argv);
  assert.equal(code, 0, `${argv.join(' ')}: ${stderr}`);
  return stdout;
}

const inside = (host: Host, id: string, ...argv: string[]) =>
  words(host, ['nsenter', `--net=${pathOf(host, id)}`, ...argv]);

interface IpLink {
  ifname: string;
  mtu: number;
  flags: string[];
  address: string;
  linkinfo?: { info_kind: string; info_data?: { mode?: string } };
  addr_info: { family: string; local: string; prefixlen: number; scope: string }[];
}

/** What a container has: its link, addresses, and routes, whoever made them. `macs`: whether they are to be the same. */
async function found(host: Host, id: string, { macs }: { macs: boolean }): Promise<object> {
  const links = JSON.parse(await inside(host, id, 'ip', '-j', '-d', 'addr')) as IpLink[];
  const routes = async (family: string) =>
    (
      JSON.parse(await inside(host, id, 'ip', family, '-j', 'route')) as {
        dst: string;
        gateway?: string;
        dev: string;
      }[]
    )
      .filter(({ dst }) => !dst.startsWith('fe80') && !dst.startsWith('ff00'))
      .map(({ dst, gateway = '', dev }) => `${dst} ${gateway} ${dev}`)
      .toSorted();
  return {
    links: links
      .filter(({ ifname }) => ifname !== 'lo')
      .map(({ ifname, mtu, flags, address, linkinfo }) => ({
        ifname,
        mtu,
        up: flags.includes('UP'),
        kind: linkinfo?.info_kind,
        mode: linkinfo?.info_data?.mode,
        ...(macs ? { address } : {}),
      })),
    addresses: links
      .filter(({ ifname }) => ifname !== 'lo')
      .flatMap(({ addr_info }) => addr_info)
      .filter(({ scope }) => scope === 'global')
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
      .toSorted(),
    routes: [...(await routes('-4')), ...(await routes('-6'))],
  };
}

const ranges = (host: Host) => ({
  type: 'host-local',
  dataDir: `${host.folder}/networks`,
  ranges: [[{ subnet: '10.6.0.0/24', rangeStart: '10.6.0.10' }], [{ subnet: 'fd00:6::/64' }]],
  routes: [{ dst: '198.51.100.0/24' }],
});

for (const mode of ['l2', 'l3', 'l3s'])
  test(`ipvlan ${mode} is the reference's: link, addresses, routes and traffic; CHECK sees what is lost`, {
    skip,
  }, async (t: TestContext) => {
    const host = await testHost(t);
    await host.startAgent();
    const [one, two] = [host.container('one'), host.container('two')];
    const before = host.inventory();
    const config = { master: 'up0', mode, mtu: 1400, ipam: ranges(host) };
    const theirs = { type: 'ipvlan', ...config };
    const ours = { type: 'heddle-ipvlan', ...config };
    await reference(host, 'ADD', 'one', theirs);
    const expected = await found(host, 'one', { macs: true });
    await reference(host, 'DEL', 'one', theirs);
    assert.deepEqual(host.inventory(), before);
    const book = { ...ours, ipam: { ...ranges(host), dataDir: `${host.folder}/ours` } };
    const made = await add(host, 'one', book);
    assert.deepEqual(await found(host, 'one', { macs: true }), expected);
    await add(host, 'two', book);
    assert.equal(await peerSeen({ from: two, to: one, address: '10.6.0.10', port: 80 }), '10.6.0.11');
    assert.equal(await peerSeen({ from: two, to: one, address: 'fd00:6::2', port: 80 }), 'fd00:6::3');
    const check = () => host.cni('CHECK', 'one', { ...book, prevResult: made });
    assert.equal((await check()).code, 0);
    await inside(host, 'one', 'ip', 'addr', 'del', '10.6.0.10/24', 'dev', 'eth0');
    assert.match((await check()).out?.msg ?? '', /eth0 lacks 10\.6\.0\.10\/24/);
    await inside(host, 'one', 'ip', 'addr', 'add', '10.6.0.10/24', 'dev', 'eth0');
    const another = mode === 'l2' ? 'l3' : 'l2';
    await inside(host, 'one', 'ip', 'link', 'set', 'eth0', 'type', 'ipvlan', 'mode', another);
    assert.match((await check()).out?.msg ?? '', new RegExp(`eth0 is no ipvlan link of mode ${mode}`));
    await inside(host, 'one', 'ip', 'link', 'set', 'eth0', 'type', 'ipvlan', 'mode', mode);
    await inside(host, 'one', 'ip', 'link', 'set', 'eth0', 'down');
    assert.match((await check()).out?.msg ?? '', /eth0 is down/);
    await inside(host, 'one', 'ip', 'link', 'del', 'eth0');
    assert.match((await check()).out?.msg ?? '', /the interface eth0 is gone/);
    for (const id of ['one', 'two']) {
      assert.equal((await host.cni('DEL', id, book)).code, 0);
      assert.doesNotMatch(await inside(host, id, 'ip', 'link'), /eth0/);
    }
    assert.deepEqual(host.inventory(), before);
    await reference(host, 'ADD', 'one', theirs);
    assert.equal(
      (await host.cni('DEL', 'one', { ...ours, name: 'reference' })).code,
      0,
      "the reference's own",
    );
    assert.doesNotMatch(await inside(host, 'one', 'ip', 'link'), /eth0/);
    const { out } = await host.cni('ADD', 'one', { ...book, mac: '02:00:00:00:00:01' });
    assert.equal(out?.code ?? 0, 0, 'mac is no field of ipvlan');
    await host.cni('DEL', 'one', book);
    const refused = await host.cni('ADD', 'one', { ...book, runtimeConfig: { mac: '02:00:00:00:00:01' } });
    assert.match(`${refused.out?.code} ${refused.out?.msg}`, /^2 mac .* an ipvlan link has its master's/);
    assert.deepEqual(host.inventory(), before);
  });

interface BridgeVlan {
  ifname: string;
  vlans: { vlan: number; vlanEnd?: number; flags?: string[] }[];
}

/** VLANs of a container's port, `7 PVID Egress Untagged`. */
async function vlansOf(host: Host, port: string): Promise<string[]> {
  const all = JSON.parse(await words(host, ['bridge', '-j', 'vlan', 'show'])) as BridgeVlan[];
  const { vlans = [] } = all.find(({ ifname }) => ifname === port) ?? {};
  return vlans.map(({ vlan, vlanEnd = vlan, flags = [] }) =>
    [vlan === vlanEnd ? vlan : `${vlan}-${vlanEnd}`, ...flags].join(' '),
  );
}

/** The ports of a bridge that containers are behind. */
const portsOf = async (host: Host, bridge: string): Promise<string[]> =>
  (
    JSON.parse(await words(host, ['ip', '-j', 'link', 'show', 'master', bridge])) as {
      ifname: string;
      link_index?: number;
      link_netnsid?: number;
    }[]
  ).flatMap(({ ifname, link_netnsid: elsewhere }) => (elsewhere === undefined ? [] : [ifname]));

const fixed = (address: string) => ({ type: 'static', addresses: [{ address: `${address}/24` }] });

test("a VLAN of a bridge is the reference's, its members reach each other and their gateway, and no other VLAN", {
  skip,
}, async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const [one, two, other] = ['one', 'two', 'other'].map((id) => host.container(id));
  assert.ok(one && two && other);
  const before = host.inventory();
  const bridge = (vlan: number, address: string, more: object = {}) => ({
    bridge: 'cni0',
    vlan,
    isGateway: true,
    isDefaultGateway: vlan === 7,
    ipam: fixed(address),
    ...more,
  });
  const theirs = { type: 'bridge', ...bridge(7, '10.6.0.11') };
  await reference(host, 'ADD', 'one', theirs);
  const expected = await found(host, 'one', { macs: false });
  const port = (await portsOf(host, 'cni0'))[0] ?? '';
  const expectedVlans = await vlansOf(host, port);
  const gateway = async () => {
    const list = JSON.parse(await words(host, ['ip', '-j', 'addr', 'show', 'dev', 'cni0.7'])) as IpLink[];
    return list.flatMap(({ addr_info }) => addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`));
  };
  const theirGateway = (await gateway()).filter((address) => !address.startsWith('fe80'));
  await reference(host, 'DEL', 'one', theirs);
  await words(host, ['ip', 'link', 'del', 'cni0.7']);
  await words(host, ['ip', 'link', 'del', 'cni0']);
  assert.deepEqual(host.inventory(), before);

  const ours = (vlan: number, address: string, more: object = {}) => ({
    type: 'heddle-bridge',
    ...bridge(vlan, address, more),
  });
  const made = await add(host, 'one', ours(7, '10.6.0.11'));
  assert.deepEqual(await found(host, 'one', { macs: false }), expected);
  const mine = made.interfaces?.[1]?.name ?? '';
  assert.deepEqual(await vlansOf(host, mine), expectedVlans);
  assert.deepEqual(
    (await gateway()).filter((address) => !address.startsWith('fe80')),
    theirGateway,
  );
  await add(host, 'two', ours(7, '10.6.0.12'));
  await add(host, 'other', ours(8, '10.6.0.13', { isGateway: false, preserveDefaultVlan: false }));
  assert.equal(await peerSeen({ from: two, to: one, address: '10.6.0.11', port: 80 }), '10.6.0.12');
  assert.equal(await peerSeen({ from: one, to: host.ns, address: '10.6.0.1', port: 80 }), '10.6.0.11');
  assert.ok(await isCutOff(other, '10.6.0.11', 80));
  assert.ok(await isCutOff(other, '10.6.0.1', 80));

  const check = () => host.cni('CHECK', 'one', { ...ours(7, '10.6.0.11'), prevResult: made });
  assert.equal((await check()).code, 0, JSON.stringify((await check()).out));
  await words(host, ['bridge', 'vlan', 'del', 'vid', '7', 'dev', mine]);
  assert.match((await check()).out?.msg ?? '', /is not in VLAN 7/);
  await words(host, ['bridge', 'vlan', 'add', 'vid', '7', 'pvid', 'untagged', 'dev', mine]);
  await words(host, ['ip', 'link', 'set', 'cni0', 'type', 'bridge', 'vlan_filtering', '0']);
  assert.match((await check()).out?.msg ?? '', /cni0 does not tell VLANs apart/);
  await words(host, ['ip', 'link', 'set', 'cni0', 'type', 'bridge', 'vlan_filtering', '1']);
  await words(host, ['ip', 'addr', 'del', '10.6.0.1/24', 'dev', 'cni0.7']);
  assert.match((await check()).out?.msg ?? '', /cni0\.7 lacks the gateway's address 10\.6\.0\.1/);
  await words(host, ['ip', 'addr', 'add', '10.6.0.1/24', 'dev', 'cni0.7']);
  assert.equal((await check()).code, 0);
  for (const id of ['one', 'two', 'other'])
    assert.equal((await host.cni('DEL', id, ours(7, '10.6.0.11'))).code, 0);
  assert.deepEqual(await portsOf(host, 'cni0'), []);
  await words(host, ['ip', 'link', 'del', 'cni0.7']);
  await words(host, ['ip', 'link', 'del', 'cni0']);
  assert.deepEqual(host.inventory(), before);
});

test('ports of a bridge are in the VLANs of vlanTrunk, leave the default one, and are isolated, as their fields say', {
  skip,
}, async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const [one, two, three] = ['one', 'two', 'three'].map((id) => host.container(id));
  assert.ok(one && two && three);
  const before = host.inventory();
  const bridge = (address: string, more: object) => ({
    type: 'heddle-bridge',
    bridge: 'cni0',
    ipam: fixed(address),
    ...more,
  });
  const trunk = { vlanTrunk: [{ id: 20 }, { minID: 30, maxID: 32 }], preserveDefaultVlan: false };
  const made = await add(host, 'one', bridge('10.6.0.21', { ...trunk, vlan: 9 }));
  const port = made.interfaces?.[1]?.name ?? '';
  assert.deepEqual(await vlansOf(host, port), ['9 PVID Egress Untagged', '20', '30', '31', '32']);
  const kept = await add(host, 'two', bridge('10.6.0.22', { vlan: 9, preserveDefaultVlan: true }));
  assert.deepEqual(await vlansOf(host, kept.interfaces?.[1]?.name ?? ''), [
    '1 Egress Untagged',
    '9 PVID Egress Untagged',
  ]);
  assert.equal(await peerSeen({ from: two, to: one, address: '10.6.0.21', port: 80 }), '10.6.0.22');
  // A tagged frame of a trunk arrives at who has the VLAN, and at nobody else.
  await inside(host, 'one', 'ip', 'link', 'add', 'link', 'eth0', 'name', 'tag31', 'type', 'vlan', 'id', '31');
  await inside(host, 'one', 'ip', 'addr', 'add', '10.31.0.1/24', 'dev', 'tag31');
  await inside(host, 'one', 'ip', 'link', 'set', 'tag31', 'up');
  await add(host, 'three', bridge('10.31.0.3', { vlan: 31, preserveDefaultVlan: false }));
  assert.equal(await peerSeen({ from: three, to: one, address: '10.31.0.1', port: 80 }), '10.31.0.3');
  const config = { ...bridge('10.6.0.21', { ...trunk, vlan: 9 }), prevResult: made };
  assert.equal((await host.cni('CHECK', 'one', config)).code, 0);
  await words(host, ['bridge', 'vlan', 'del', 'vid', '31', 'dev', port]);
  assert.match((await host.cni('CHECK', 'one', config)).out?.msg ?? '', /is not in VLAN 31/);
  for (const id of ['one', 'two', 'three']) assert.equal((await host.cni('DEL', id, config)).code, 0);

  await add(host, 'one', bridge('10.6.0.21', { portIsolation: true }));
  await add(host, 'two', bridge('10.6.0.22', { portIsolation: true }));
  await add(host, 'three', bridge('10.6.0.23', {}));
  assert.ok(await isCutOff(one, '10.6.0.22', 80), 'from one that is isolated to another');
  assert.equal(await peerSeen({ from: three, to: one, address: '10.6.0.21', port: 80 }), '10.6.0.23');
  for (const id of ['one', 'two', 'three']) assert.equal((await host.cni('DEL', id, config)).code, 0);
  await words(host, ['ip', 'link', 'del', 'cni0']);
  assert.deepEqual(host.inventory(), before);
});
