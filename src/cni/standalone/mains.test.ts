import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { openRoute } from '../../kernel/route.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { addressesOf, type Answer, type Host, peerSeen, testHost } from '../testing/host.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';
const it = (name: string, fn: (t: TestContext) => Promise<void>) => test(name, { skip: needsRoot }, fn);

async function add(host: Host, id: string, config: object): Promise<Answer> {
  const { code, out } = await host.cni('ADD', id, config);
  assert.equal(code, 0, JSON.stringify(out));
  assert.ok(out);
  return out;
}

it('a list of bridge, host-local and portmap moves over with what it has given, and back', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const dataDir = `${host.folder}/networks`;
  const bridge = (type: string) => ({
    type,
    bridge: 'cni7',
    isDefaultGateway: true,
    ipMasq: true,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      dataDir,
      ranges: [[{ subnet: '10.7.0.0/24', rangeStart: '10.7.0.10' }], [{ subnet: 'fd00:7::/64' }]],
    },
  });
  const ours = {
    ...bridge('heddle-bridge'),
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80 }] },
  };
  const one = host.container('one');
  const two = host.container('two');
  const before = host.inventory();
  const first = await add(host, 'one', ours);
  assert.deepEqual(
    first.ips?.map(({ address, gateway }) => [address, gateway]),
    [
      ['10.7.0.10/24', '10.7.0.1'],
      ['fd00:7::2/64', 'fd00:7::1'],
    ],
  );
  assert.deepEqual(
    first.interfaces?.map(({ name }) => name.replace(/^hd.*/, 'hd')),
    ['cni7', 'hd', 'eth0'],
  );
  const second = await add(host, 'two', bridge('heddle-bridge'));
  assert.equal(addressesOf(second)[0], '10.7.0.11');
  assert.equal(
    await peerSeen({ from: two, to: one, address: '10.7.0.10', port: 80 }),
    '10.7.0.11',
    'side by side',
  );
  assert.equal(await peerSeen({ from: two, to: one, address: 'fd00:7::2', port: 80 }), 'fd00:7::3');
  assert.equal(
    await peerSeen({ from: one, to: host.outside, address: '192.0.2.2', port: 80 }),
    '192.0.2.1',
    'masqueraded',
  );
  const mapped = (from: typeof one) =>
    peerSeen({ from, to: one, address: '192.0.2.1', port: 8080, listen: 80 });
  assert.equal(await mapped(host.outside), '192.0.2.2');
  assert.equal(await mapped(two), '10.7.0.1', 'a neighbour on the bridge, by way of the machine');
  assert.equal(await mapped(one), '10.7.0.1', 'itself');
  assert.equal((await host.cni('CHECK', 'one', { ...ours, prevResult: first })).code, 0);
  const again = await add(host, 'one', ours);
  assert.deepEqual(addressesOf(again), addressesOf(first), 'the same again');
  assert.equal(await mapped(host.outside), '192.0.2.2');

  // The reference's own DEL and ADD in the same folder.
  const reference = (command: string, id: string) =>
    host.run(
      ['/usr/lib/cni/bridge'],
      {
        CNI_COMMAND: command,
        CNI_CONTAINERID: id,
        CNI_NETNS: `${host.folder}/container-${id}`,
        CNI_IFNAME: 'eth0',
        CNI_PATH: '/usr/lib/cni',
      },
      JSON.stringify({ cniVersion: '1.0.0', name: 'test', ...bridge('bridge') }),
    );
  host.container('three');
  const third = await reference('ADD', 'three');
  assert.equal(third.code, 0, third.stdout);
  assert.match(third.stdout, /10\.7\.0\.12\/24/, 'after the last one that was given here');
  assert.equal((await host.cni('DEL', 'three', bridge('heddle-bridge'))).code, 0, 'what the reference made');
  assert.equal((await host.cni('DEL', 'two', bridge('heddle-bridge'))).code, 0);
  assert.equal((await host.cni('DEL', 'one', ours)).code, 0);
  assert.deepEqual(
    fs.readdirSync(`${dataDir}/test`).filter((name) => /^[0-9a-f]/.test(name)),
    [],
  );
  assert.equal((await host.run(['ip', 'link', 'del', 'cni7'])).code, 0);
  await reference('DEL', 'three');
  assert.deepEqual(host.inventory(), before);
});

it('ptp, macvlan of every mode, and bridges refuse and do what their fields say', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const before = host.inventory();
  const [one, two] = [host.container('one'), host.container('two')];
  const fixed = (address: string, more: object = {}) => ({
    ipam: { type: 'static', addresses: [{ address, gateway: '10.6.0.1' }], ...more },
  });
  const ptp = {
    type: 'heddle-ptp',
    ipMasq: true,
    ...fixed('10.6.0.5/24', { routes: [{ dst: '0.0.0.0/0' }], dns: { nameservers: ['192.0.2.53'] } }),
  };
  const made = await add(host, 'one', ptp);
  assert.deepEqual(made.dns, { nameservers: ['192.0.2.53'] });
  assert.equal(await peerSeen({ from: one, to: host.outside, address: '192.0.2.2', port: 80 }), '192.0.2.1');
  assert.equal(await peerSeen({ from: host.ns, to: one, address: '10.6.0.5', port: 80 }), '10.6.0.1');
  assert.equal((await host.cni('CHECK', 'one', { ...ptp, prevResult: made })).code, 0);
  await host.run(['ip', 'route', 'del', '10.6.0.5']);
  assert.match(
    (await host.cni('CHECK', 'one', { ...ptp, prevResult: made })).out?.msg ?? '',
    /the host has no route to 10\.6\.0\.5/,
  );
  await host.stopAgent('SIGKILL');
  await host.startAgent();
  assert.equal(
    (await host.cni('CHECK', 'one', { ...ptp, prevResult: made })).code,
    0,
    'put right at the start',
  );
  assert.equal((await host.cni('DEL', 'one', ptp)).code, 0);
  assert.deepEqual(host.inventory(), before);

  for (const mode of deep ? ['bridge', 'private', 'vepa', 'passthru'] : ['bridge']) {
    const macvlan = { type: 'heddle-macvlan', mode, mtu: 1400, ...fixed('10.6.0.6/24') };
    const link = await add(host, 'one', macvlan);
    assert.equal(link.interfaces?.[0]?.mtu, 1400);
    assert.equal((await host.cni('CHECK', 'one', { ...macvlan, prevResult: link })).code, 0);
    if (mode === 'bridge') {
      await add(host, 'two', { ...macvlan, ...fixed('10.6.0.7/24') });
      assert.equal(await peerSeen({ from: two, to: one, address: '10.6.0.6', port: 80 }), '10.6.0.7');
      assert.equal((await host.cni('DEL', 'two', macvlan)).code, 0);
    }
    assert.equal((await host.cni('DEL', 'one', macvlan)).code, 0);
    const inside = openRoute(one);
    assert.deepEqual(
      inside.links().map(({ name }) => name),
      ['lo'],
      mode,
    );
    inside.close();
  }
  assert.deepEqual(host.inventory(), before);

  const refusal = async (config: object) => {
    const { out } = await host.cni('ADD', 'one', config);
    return `${out?.code} ${out?.msg}`;
  };
  const list = { ...fixed('10.6.0.8/24'), type: 'heddle-macvlan' };
  assert.match(await refusal({ ...list, mode: 'l2' }), /^7 mode "l2" is not one of bridge, private/);
  assert.match(await refusal({ ...list, master: 'eth9' }), /^7 master "eth9" is no link on this machine/);
  assert.match(await refusal({ ...list, mtu: 9000 }), /^7 mtu 9000 is larger than 1500/);
  assert.match(await refusal({ ...list, type: 'heddle-vlan' }), /^7 type "heddle-vlan" is unknown/);
  assert.match(await refusal({ ...list, ipam: { type: 'other' } }), /^2 ipam\.type "other" is not supported/);
  const bridge = { ...fixed('10.6.0.9/24'), type: 'heddle-bridge', bridge: 'br6', isGateway: true };
  assert.match(
    await refusal({ ...bridge, bridge: 'up0' }),
    /^7 bridge "up0" is the name of a link that is no bridge/,
  );
  assert.match(await refusal({ ...bridge, hairpinMode: true, promiscMode: true }), /^7 hairpinMode true/);
  await add(host, 'one', { ...bridge, promiscMode: true, macspoofchk: true });
  assert.match((await host.run(['ip', '-d', 'link', 'show', 'br6'])).stdout, /PROMISC/);
  host.container('three');
  const other = { ...bridge, ...fixed('10.6.0.9/16') };
  const differs = await host.cni('ADD', 'three', other);
  assert.match(differs.out?.msg ?? '', /br6 has the address 10\.6\.0\.1\/24; 10\.6\.0\.1\/16 is expected/);
  assert.equal((await host.cni('ADD', 'three', { ...other, forceAddress: true })).code, 0);
  for (const id of ['one', 'three']) assert.equal((await host.cni('DEL', id, bridge)).code, 0);
  await host.run(['ip', 'link', 'del', 'br6']);
  await host.run(['nft', 'delete', 'table', 'bridge', 'heddle-cni']);
  assert.deepEqual(host.inventory(), before);
});
