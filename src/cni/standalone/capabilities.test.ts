import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openRoute } from '../../kernel/route.ts';
import { isShaped } from '../../kernel/shaper.ts';
import { deepOnly } from '../../../test/scenarios/deep-only.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { hostInterfaceName } from '../names.ts';
import { addressesOf, isCutOff, peerSeen, testHost } from '../testing/host.ts';

const it = (name: string, fn: (t: TestContext) => Promise<void>) => test(name, { skip: needsRoot }, fn);

const mapped = (...portMappings: object[]) => ({ runtimeConfig: { portMappings } });

it('a host port leads to the container: from outside, the machine, another container and itself', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const before = host.inventory();
  const [one, two] = [host.container('one'), host.container('two')];
  const ports = mapped({ hostPort: 8080, containerPort: 80, protocol: 'tcp' });
  const { code, out } = await host.cni('ADD', 'one', ports);
  assert.equal(code, 0, JSON.stringify(out));
  const { out: other } = await host.cni('ADD', 'two');
  const at = (from: typeof one, address: string) =>
    peerSeen({ from, to: one, address, port: 8080, listen: 80 });
  assert.equal(await at(host.outside, '192.0.2.1'), '192.0.2.2');
  assert.equal(await at(host.outside, '2001:db8::1'), '2001:db8::2');
  assert.equal(await at(two, '192.0.2.1'), addressesOf(other)[0], 'containers are seen as they are');
  assert.equal(await at(one, '192.0.2.1'), '192.0.2.1', 'itself, by way of the machine');
  assert.equal(await at(one, '2001:db8::1'), '2001:db8::1');
  assert.equal(await at(host.ns, '192.0.2.1'), '192.0.2.1');
  assert.equal(await at(host.ns, '127.0.0.1'), '192.0.2.1', 'from the loopback');
  assert.equal((await host.cni('CHECK', 'one', { ...ports, prevResult: out })).code, 0);
  // podman and nerdctl say the ports again for each further network of the container.
  const second = { ...ports, name: 'second' };
  const further = await host.cni('ADD', 'one', second, { CNI_IFNAME: 'eth1' });
  assert.equal(further.code, 0, JSON.stringify(further.out));
  const prevResult = further.out;
  assert.equal((await host.cni('CHECK', 'one', { ...second, prevResult }, { CNI_IFNAME: 'eth1' })).code, 0);
  assert.equal((await host.cni('DEL', 'one', second, { CNI_IFNAME: 'eth1' })).code, 0);
  assert.equal(await at(host.outside, '192.0.2.1'), '192.0.2.2', 'they are those of the first');
  for (const id of ['one', 'two']) assert.equal((await host.cni('DEL', id)).code, 0);
  assert.deepEqual(host.inventory(), before);
  assert.ok(await isCutOff(host.outside, '192.0.2.1', 8080));
});

it('hostIP and protocol pick; names as containerd writes them are read; a taken port is refused and leaves nothing', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const one = host.container('one');
  const only = mapped(
    { HostPort: 81, ContainerPort: 80, Protocol: 'TCP', HostIP: '127.0.0.1' },
    { HostPort: 0, ContainerPort: 9 },
  );
  assert.equal((await host.cni('ADD', 'one', only)).code, 0);
  assert.ok(await isCutOff(host.outside, '192.0.2.1', 81));
  assert.equal(
    await peerSeen({ from: host.ns, to: one, address: '127.0.0.1', port: 81, listen: 80 }),
    '192.0.2.1',
  );
  const before = host.inventory();
  host.container('two');
  const { out } = await host.cni('ADD', 'two', only);
  assert.equal(out?.code, 102);
  assert.match(out?.msg ?? '', /host port 127\.0\.0\.1 \. tcp \. 81 leads to another container/);
  assert.deepEqual(host.inventory(), before);
  const udp = mapped({ hostPort: 81, containerPort: 80, protocol: 'udp' });
  assert.equal((await host.cni('ADD', 'two', udp)).code, 0, 'the same number in another protocol');
});

it('host ports that somebody removed are missed by CHECK and restored by the next agent', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const one = host.container('one');
  const ports = mapped({ hostPort: 8080, containerPort: 80 });
  const { out } = await host.cni('ADD', 'one', ports);
  const whole = host.inventory();
  await host.run(['nft', 'delete', 'table', 'inet', 'heddle-cni']);
  for (const address of addressesOf(out))
    await host.run(['ip', address.includes(':') ? '-6' : '-4', 'route', 'del', address]);
  await host.stopAgent();
  await host.startAgent();
  assert.deepEqual(host.inventory(), whole);
  assert.equal(
    await peerSeen({ from: host.outside, to: one, address: '192.0.2.1', port: 8080, listen: 80 }),
    '192.0.2.2',
  );
  await host.run(['nft', 'flush', 'map', 'inet', 'heddle-cni', 'all-ports4']);
  const check = await host.cni('CHECK', 'one', { ...ports, prevResult: out });
  assert.match(check.out?.msg ?? '', /the host port 8080\/tcp does not lead to the container/);
  assert.equal((await host.cni('DEL', 'one')).code, 0, 'what is gone already is no error');
});

it('bandwidth limits both ways, CHECK sees when a limit is gone', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  const one = host.container('one');
  const limits = {
    runtimeConfig: { bandwidth: { ingressRate: 8e6, ingressBurst: 8e5, egressRate: 16e6, egressBurst: 8e5 } },
  };
  const { code, out } = await host.cni('ADD', 'one', limits);
  assert.equal(code, 0, JSON.stringify(out));
  const ends = () => {
    const [node, pod] = [openRoute(host.ns), openRoute(one)];
    const host0 = node.link(hostInterfaceName({ containerId: 'one', ifName: 'eth0' }))?.index ?? 0;
    const pod0 = pod.link('eth0')?.index ?? 0;
    node.close();
    pod.close();
    return [isShaped({ ifindex: host0, ns: host.ns }), isShaped({ ifindex: pod0, ns: one })];
  };
  assert.deepEqual(ends(), [true, true]);
  const shown = await host.run([
    'tc',
    'qdisc',
    'show',
    'dev',
    hostInterfaceName({ containerId: 'one', ifName: 'eth0' }),
  ]);
  assert.match(shown.stdout, /tbf 48: root .*rate 8Mbit burst 100000b /);
  assert.equal((await host.cni('CHECK', 'one', { ...limits, prevResult: out })).code, 0);
  await host.run([
    'tc',
    'qdisc',
    'del',
    'dev',
    hostInterfaceName({ containerId: 'one', ifName: 'eth0' }),
    'root',
  ]);
  const check = await host.cni('CHECK', 'one', { ...limits, prevResult: out });
  assert.match(check.out?.msg ?? '', /what eth0 is sent is not limited any more/);
});

it('addresses, link address, ranges and DNS are as asked for, or refused with what is in the way', async (t) => {
  const host = await testHost(t, { reserved: ['10.9.1.50'] });
  await host.startAgent();
  host.container('one');
  host.container('two');
  const asked = {
    runtimeConfig: {
      ips: ['10.9.1.77/24'],
      mac: '02:00:00:00:00:77',
      dns: { servers: ['192.0.2.53'], searches: ['test'], options: ['ndots:2'] },
      aliases: ['web'],
    },
    dns: { nameservers: ['192.0.2.54'], domain: 'x' },
  };
  const { code, out } = await host.cni('ADD', 'one', asked);
  assert.equal(code, 0, JSON.stringify(out));
  assert.equal(addressesOf(out)[0], '10.9.1.77');
  assert.equal(out?.interfaces?.find(({ name }) => name === 'eth0')?.mac, '02:00:00:00:00:77');
  assert.deepEqual(out?.dns, {
    nameservers: ['192.0.2.53'],
    domain: 'x',
    search: ['test'],
    options: ['ndots:2'],
  });
  const refusal = async (config: object, env: Record<string, string> = {}) => {
    const { out: answer } = await host.cni('ADD', 'two', config, env);
    return `${answer?.code} ${answer?.msg}`;
  };
  assert.match(await refusal(asked), /^102 .*10\.9\.1\.77 belongs to none\/one/);
  assert.match(
    await refusal({ args: { cni: { ips: ['10.8.0.1'] } } }),
    /^7 .*10\.8\.0\.1 is none that can be given/,
  );
  assert.match(await refusal({}, { CNI_ARGS: 'IP=10.9.1.50' }), /^7 .*10\.9\.1\.50/);
  assert.match(await refusal({ runtimeConfig: { mac: '01:00:00:00:00:01' } }), /^7 .*unicast MAC/);
  assert.match(
    await refusal({ runtimeConfig: { deviceID: 'x' } }),
    /^2 runtimeConfig\.deviceID "x" is not supported/,
  );
  assert.match(await refusal({ ipam: { type: 'host-local' } }), /^2 ipam \{"type":"host-local"\}/);
  const wide = { runtimeConfig: { ipRanges: [[{ subnet: '10.9.0.0/16' }]] } };
  assert.match(await refusal(wide), /^7 .*10\.9\.0\.0 to 10\.9\.255\.255 is not inside/);
  const ranges = { runtimeConfig: { ipRanges: [[{ subnet: '10.9.1.128/30', rangeStart: '10.9.1.129' }]] } };
  const { out: ranged } = await host.cni('ADD', 'two', ranges);
  assert.deepEqual(addressesOf(ranged), ['10.9.1.129'], 'no family that no range is of');
});

it('GC is of one network, STATUS tells what is wrong', async (t) => {
  const host = await testHost(t);
  await host.startAgent();
  for (const [id, name] of [
    ['one', 'a'],
    ['two', 'b'],
    ['three', 'a'],
  ] as const) {
    host.container(id);
    assert.equal((await host.cni('ADD', id, { name })).code, 0);
  }
  assert.equal(
    (
      await host.cni(
        'GC',
        '',
        { name: 'a', 'cni.dev/valid-attachments': [{ containerID: 'one', ifname: 'eth0' }] },
        { CNI_CONTAINERID: '' },
      )
    ).code,
    0,
  );
  const book = () => host.inventory().filter((line) => line.startsWith('book'));
  assert.deepEqual(book(), ['book one/eth0', 'book two/eth0']);
  const collect = async (valid: object): Promise<number> =>
    (await host.cni('GC', '', { name: 'a', ...valid }, { CNI_CONTAINERID: '' })).out?.code ?? 0;
  for (const forgotten of [
    {},
    { 'cni.dev/valid-attachments': {} },
    { 'cni.dev/valid-attachments': [{ containerID: 'one' }] },
  ])
    assert.equal(await collect(forgotten), 7, JSON.stringify(forgotten));
  assert.deepEqual(book(), ['book one/eth0', 'book two/eth0'], 'who says nothing does not mean nothing');
  assert.equal(await collect({ 'cni.dev/valid-attachments': null }), 0);
  assert.deepEqual(book(), ['book two/eth0']);
  assert.equal((await host.cni('STATUS', '')).code, 0);
  await host.run(['sysctl', '-qw', 'net.ipv4.ip_forward=0']);
  const { out } = await host.cni('STATUS', '');
  assert.equal(out?.code, 51);
  assert.match(out?.msg ?? '', /net\.ipv4\.ip_forward is 0/);
});

test('where the agent is away STATUS is 50, everything else 11, and VERSION is answered', {
  skip: needsRoot || deepOnly('each call waits for 5 seconds'),
}, async (t) => {
  const host = await testHost(t);
  host.container('one');
  const codes = await Promise.all(
    ['STATUS', 'ADD', 'DEL', 'CHECK', 'GC'].map(
      async (command) => (await host.cni(command, 'one')).out?.code,
    ),
  );
  assert.deepEqual(codes, [50, 11, 11, 11, 11]);
  assert.equal((await host.cni('VERSION', 'one', { cniVersion: '9.0.0' })).code, 0);
});
