import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { bindUdp } from '../../kernel/sockets.ts';
import { run } from '../../kernel/spawn.ts';
import { readSysctl } from '../../kernel/sysctl.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import { datagram, rawWriter } from '../ebpf/core/testing/raw.ts';
import { emptyState } from '../plan/tables.ts';
import { createMovableBackend, type Movable } from '../movable.ts';
import { createCluster, serviceAddresses } from '../testing/cluster.ts';
import { openIptables } from '../testing/iptables.ts';
import { checkServiceAgreement } from '../testing/service-agreement.ts';
import { openNftables } from '../testing/nftables.ts';
import { dialTcp, keepTcp, serveTcp } from '../testing/traffic.ts';
import { createPrograms } from './programs.ts';
import { createIptablesServices } from './services.ts';

const options = { skip: needsRoot };

for (const variant of ['nft', 'legacy'] as const) {
  test(`${variant}: damage by hand is found and mended, and what others wrote stays`, options, async (t) => {
    const cluster = await createCluster(t, openIptables(variant));
    const { backends, lab, pod, plans } = cluster;
    const [backend, node] = [backends[0]!, lab.nodes[0]!];
    cluster.setService('s', 1, [{ port: 80, target: 8080 }], [pod('a'), pod('c')]);
    cluster.setService('empty', 2, [{ port: 80, target: 8080 }], []);
    await cluster.apply();
    const sh = async (text: string) => {
      const result = await run(['sh', '-ec', text.replaceAll('IPT', `iptables-${variant}`)], {
        netns: node.ns,
      });
      assert.equal(result.code, 0, result.stderr);
      return result.stdout;
    };
    await sh('IPT -t nat -A PREROUTING -p tcp --dport 9 -j RETURN');
    await sh('IPT -t nat -N KUBE-MINE');
    /** Without the times and the packet counts of the kernel's own chains. */
    const plain = (text: string) => text.replaceAll(/^#.*\n/gm, '').replaceAll(/ \[\d+:\d+\]$/gm, '');
    const listed = () => backend.programs.save(4).then(plain);
    const [whole, sep] = [await listed(), /:(KUBE-SEP-\w+)/.exec(await listed())?.[1] ?? ''];
    const svc = /:(KUBE-SVC-\w+)/.exec(whole)?.[1] ?? '';
    for (const harm of [
      `IPT -t nat -F ${sep}`,
      `IPT -t nat -I ${svc} 1 -j RETURN`,
      'IPT -t nat -D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      'IPT -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      'IPT -t nat -A KUBE-SERVICES -p tcp -j RETURN',
      'IPT -t nat -I KUBE-SERVICES 1 -p tcp -j RETURN',
      'IPT -t nat -F KUBE-POSTROUTING',
      'IPT -t filter -F KUBE-SERVICES',
      'IPT -t filter -F KUBE-FIREWALL',
      'sysctl -qw net.ipv4.conf.all.route_localnet=0',
      'IPT -t nat -N KUBE-SEP-AAAAAAAAAAAAAAAA',
      `IPT -t nat -F ${svc}; IPT -t nat -F ${sep}; IPT -t nat -F KUBE-SERVICES; IPT -t nat -X ${svc}`,
    ]) {
      await sh(harm);
      assert.notDeepEqual(await backend.verify(), [], harm);
      assert.notDeepEqual(await backend.prune(plans[0]!.state), [], harm);
      assert.deepEqual(await backend.verify(), [], harm);
      const sorted = (text: string) => text.split('\n').sort();
      assert.deepEqual(sorted(await listed()), sorted(whole), harm);
    }
    await backend.remove?.();
    const left = await listed();
    assert.equal(readSysctl(node.ns, 'net.ipv4.conf.all.route_localnet'), '0');
    assert.ok(left.includes('--dport 9 -j RETURN') && left.includes('KUBE-MINE'));
    assert.ok(!/KUBE-S|KUBE-E|KUBE-P|KUBE-N|KUBE-F/.test(left), left);
  });

  test(
    `${variant}: what somebody removed meanwhile is mended when it is to be changed`,
    options,
    async (t) => {
      const cluster = await createCluster(t, openIptables(variant));
      const { backends, lab, pod } = cluster;
      const serve = async (name: string) => {
        cluster.setService('s', 1, [{ port: 80, target: 8080 }], [pod(name)]);
        await cluster.apply();
      };
      await serve('a');
      const { code } = await run([`iptables-${variant}`, '-t', 'nat', '-F', 'KUBE-SERVICES'], {
        netns: lab.nodes[0]!.ns,
      });
      assert.equal(code, 0);
      cluster.setService('s', 1, [{ port: 80, target: 8080 }], []);
      await cluster.apply();
      assert.deepEqual(await backends[0]?.verify(), []);
    },
  );

  test(`${variant}: one endpoint more is a few lines`, options, async (t) => {
    const inputs: string[] = [];
    const cluster = await createCluster(t, openIptables(variant), [['a', 'b'], []]);
    const { pod, lab } = cluster;
    for (let i = 1; i < 30; i++) cluster.setService(`s${i}`, i, [{ port: 80, target: 8080 }], [pod('a')]);
    await cluster.apply();
    const programs = createPrograms({ run, netns: lab.nodes[0]!.ns, variant });
    const services = createIptablesServices({
      programs: {
        ...programs,
        restore(family, input) {
          inputs.push(input);
          return programs.restore(family, input);
        },
      },
      sysctls: { read: () => '1', write: () => assert.fail('it is so already') },
      log: silentLog,
    });
    assert.deepEqual(await services.prune(cluster.plans[0]!.state), []);
    cluster.setService('s7', 7, [{ port: 80, target: 8080 }], [pod('a'), pod('b')]);
    await services.apply(cluster.plans[0]!.update());
    assert.equal(inputs.length, 2, 'one for each family');
    for (const input of inputs) assert.ok(input.split('\n').length < 12, input);
    assert.deepEqual(await services.verify(), []);
  });
}

test(
  'the loopback addresses of a node are nobody else’s, and nobody else sends from them',
  options,
  async (t) => {
    const { lab, pod } = await createCluster(t, openIptables('nft'));
    const [node] = lab.nodes;
    assert.ok(node);
    const heard: string[] = [];
    const socket = createSocket('udp4').on('message', (data) => heard.push(data.toString()));
    await new Promise<void>((resolve) => socket.bind({ fd: bindUdp(node.ns, '0.0.0.0', 9000) }, resolve));
    t.after(() => void socket.close());
    const outside = { ...pod('a'), ns: lab.outside, mac: '02:00:00:00:ff:fe' };
    const senders = [
      { name: 'pod', from: pod('a'), to: '127.0.0.1' },
      ...[
        { name: 'stranger', src: '10.240.0.254', to: '127.0.0.1' },
        { name: 'forger', src: '127.0.0.2', to: '127.0.0.1' },
        { name: 'forger to the node', src: '127.0.0.2', to: node.settings.nodeAddresses[0] ?? '' },
      ].map(({ name, src, to }) => ({ name, to, from: { ...outside, addresses: [src, '::'] as const } })),
    ].map(({ name, from, to }) => ({ name, from, to, write: rawWriter(t, from) }));
    const send = (text: string) => {
      for (const { name, from, to, write } of senders) {
        const frame = datagram(from, to, 9000, Buffer.from(`${name} ${text}`));
        // To the node's own link.
        if (from.ns === lab.outside) frame.write('02000000ff01', 'hex');
        write(frame);
      }
    };
    send('with');
    const { code } = await run(['iptables-nft', '-F', 'KUBE-FIREWALL'], { netns: node.ns });
    assert.equal(code, 0);
    while (!senders.every(({ name }) => heard.includes(`${name} without`))) {
      send('without');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.deepEqual([...new Set(heard)].toSorted(), senders.map(({ name }) => `${name} without`).toSorted());
  },
);

test('a node moves from nftables to iptables and back, and connections go on', options, async (t) => {
  const moved: Movable[] = [];
  const cluster = await createCluster(t, (t2, node) => {
    const movable = createMovableBackend({
      open: (name) => (name === 'iptables' ? openIptables('nft')(t2, node) : openNftables(t2, node)),
      initial: 'nftables',
      used: () => ['nftables', 'iptables'],
      log: silentLog,
    });
    moved.push(movable);
    return movable;
  });
  const { pod, backends } = cluster;
  for (const name of ['b', 'c']) serveTcp(t, pod(name).ns, 8080, name);
  cluster.setService('s', 1, [{ port: 80, target: 8080 }], [pod('c')]);
  await cluster.setPolicies({ b: { podSelector: { matchLabels: { app: 'b' } }, policyTypes: ['Ingress'] } });
  const kept = [
    await keepTcp(t, pod('a').ns, pod('c').addresses[1], 8080),
    await keepTcp(t, pod('a').ns, serviceAddresses(1)[0], 80),
  ];
  for (const name of ['iptables', 'nftables', 'iptables']) {
    assert.equal((await moved[0]?.willCut(name))?.length, 1, 'the one by way of the service');
    for (const movable of moved) await movable.move(name);
    for (const { echo } of kept) assert.ok(await echo(), name);
    for (const address of serviceAddresses(1))
      assert.equal((await dialTcp(pod('a').ns, address, 80)).server, 'c', name);
    for (const address of pod('b').addresses)
      assert.deepEqual(await dialTcp(pod('c').ns, address, 8080), { why: 'ETIMEDOUT' }, name);
    for (const backend of backends) assert.deepEqual(await backend.verify(), [], name);
  }
});

test('without iptables it is refused by name, and there is nothing to remove', async () => {
  const missing = createPrograms({
    run: (argv, settings) => run([`/nowhere/${argv[0]}`, ...argv.slice(1)], settings),
  });
  const services = createIptablesServices({
    programs: missing,
    sysctls: { read: () => '0', write: () => {} },
    log: silentLog,
  });
  await assert.rejects(services.prune(emptyState()), { code: 'IptablesMissing' });
  await services.remove?.();
});

test('who answers at a service is who the plan says', options, (t) =>
  checkServiceAgreement(t, openIptables('nft'), 8),
);
