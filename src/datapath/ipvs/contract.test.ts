import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { createCluster, serviceAddresses } from '../testing/cluster.ts';
import { type Opened, packetContract, stateContract } from '../testing/contract.ts';
import { needsIpvs, openIpvsBackend } from '../testing/ipvs.ts';
import { TARGETS } from '../testing/frontends.ts';
import { createLab, type LabNode, OUTSIDE } from '../testing/lab.ts';
import { dialers, FAMILIES, PODS, PROTOCOLS } from '../testing/service-lab.ts';
import { dialTcp, keepTcp, serveTcp, serveUdp } from '../testing/traffic.ts';

function open(t: TestContext, node: LabNode): Opened {
  const backend = openIpvsBackend(t, node);
  return { backend, sent: backend.sent, reopen: () => open(t, node) };
}

const HOST_PORT = 8443;
const PORTS = [{ port: 80, target: 8080 }];

/** Connections with their age left out. */
const listing = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => /->|^(?:TCP|UDP)/.test(line) && !line.includes('RemoteAddress'))
    .map((line) => line.trim().split(/\s+/).slice(0, 4).join(' '))
    .sort();

function ipvsContract(): void {
  // An emulated kernel loads its modules with the first packets, slower than the contract waits.
  test('ipvs: the first packets arrive', async (t) => {
    const { pod } = await createCluster(t, openIpvsBackend);
    serveTcp(t, pod('c').ns, 8080, 'c');
    for (const address of pod('c').addresses)
      assert.equal((await dialTcp(pod('a').ns, address, 8080, { timeoutMs: 15_000 })).server, 'c');
  });

  stateContract('ipvs', (t) => open(t, createLab(t, 1).nodes[0]!));
  packetContract('ipvs', openIpvsBackend);

  test('ipvs: ipvsadm lists the services, and what it damages is mended', async (t) => {
    const { backends, plans, pod, setService, apply } = await createCluster(t, openIpvsBackend);
    setService('s', 1, PORTS, [pod('b'), pod('c')]);
    await apply();
    const [backend, plan] = [backends[0]!, plans[0]!];
    const whole = listing(backend.ipvsadm('-Ln'));
    assert.deepEqual(whole, [
      '-> 10.244.1.3:8080 Masq 1',
      '-> 10.244.2.2:8080 Masq 1',
      '-> [fd00:10:244:1::3]:8080 Masq 1',
      '-> [fd00:10:244:2::2]:8080 Masq 1',
      'TCP 10.96.0.1:80 rr',
      'TCP [fd00:10:96::1]:80 rr',
    ]);
    for (const harm of [
      '-C',
      '-D -t 10.96.0.1:80',
      '-E -t 10.96.0.1:80 -s sh -p 60',
      '-d -t [fd00:10:96::1]:80 -r [fd00:10:244:1::3]:8080',
      '-e -t 10.96.0.1:80 -r 10.244.1.3:8080 -m -w 7',
      '-a -t 10.96.0.1:80 -r 10.244.1.9:8080 -m',
      '-A -u 10.96.0.1:53 -s rr',
    ]) {
      backend.ipvsadm(...harm.split(' '));
      assert.notDeepEqual(await backend.verify(), [], harm);
      assert.notDeepEqual(await backend.prune(plan.state), [], harm);
      assert.deepEqual(await backend.verify(), [], harm);
      assert.deepEqual(listing(backend.ipvsadm('-Ln')), whole, harm);
    }
  });

  test('ipvs: a connection outlives its backend’s place in the service, and its service', async (t) => {
    const { backends, pod, setService, apply } = await createCluster(t, openIpvsBackend);
    for (const name of ['b', 'c']) serveTcp(t, pod(name).ns, 8080, name);
    setService('s', 1, PORTS, [pod('b')]);
    await apply();
    const kept = await keepTcp(t, pod('a').ns, serviceAddresses(1)[0], 80);
    for (const names of [['c'], [], ['c'], ['b', 'c']]) {
      setService('s', 1, PORTS, names.map(pod));
      await apply();
      assert.ok(await kept.echo(), names.join());
      const { server, why } = await dialTcp(pod('a').ns, serviceAddresses(1)[0], 80, { timeoutMs: 2000 });
      assert.ok(names.includes(server ?? '') || why === 'ECONNREFUSED', `${names.join()} ${server} ${why}`);
      assert.deepEqual(await backends[0]?.verify(), []);
    }
  });

  test('ipvs: a host port leads to its pod from everywhere, shows it who calls, and goes with it', async (t) => {
    const { lab, backends, plans, pod, apply } = await createCluster(t, openIpvsBackend, PODS);
    for (const each of lab.pods) {
      serveTcp(t, each.ns, TARGETS.TCP, each.name);
      serveUdp(t, each.ns, each.addresses, TARGETS.UDP, each.name);
    }
    const [one, two] = lab.nodes;
    const ports = PROTOCOLS.map((protocol) => ({
      hostPort: HOST_PORT,
      containerPort: TARGETS[protocol],
      protocol,
    }));
    plans[0]!.setHostPorts([{ pod: 'default/b', addresses: pod('b').addresses, ports }]);
    await apply();
    for (const family of FAMILIES)
      for (const protocol of PROTOCOLS) {
        const [to = '', other = ''] = lab.nodes.map(({ remote }) => remote.addresses[family] ?? '');
        const dial = (ns: Netns, address = to) => dialers[protocol](ns, address, HOST_PORT);
        const localAddress = OUTSIDE[family];
        const outside = await dialers[protocol](lab.outside, to, HOST_PORT, { localAddress });
        assert.deepEqual(outside, { server: 'b', seen: localAddress }, `${protocol} ${to}`);
        for (const ns of [one!.ns, two!.ns, ...['a', 'b', 'c'].map((name) => pod(name).ns)])
          assert.equal((await dial(ns)).server, 'b', `${protocol} ${ns.path} ${to}`);
        assert.equal((await dial(pod('a').ns, other)).server, undefined, 'of the other node it is nobody’s');
      }
    assert.deepEqual(await backends[0]?.verify(), []);
    plans[0]!.setHostPorts([]);
    await apply();
    for (const family of FAMILIES)
      for (const ns of [lab.outside, pod('a').ns])
        assert.equal((await dialTcp(ns, one!.remote.addresses[family] ?? '', HOST_PORT)).server, undefined);
    assert.deepEqual(await backends[0]?.verify(), []);
  });

  test('ipvs: nothing is left of it when it is removed', async (t) => {
    const { lab, backends, pod, setService, apply } = await createCluster(t, openIpvsBackend);
    setService('s', 1, PORTS, [pod('b'), pod('c')]);
    await apply();
    const [backend, node] = [backends[0]!, lab.nodes[0]!];
    await backend.remove?.();
    assert.deepEqual(listing(backend.ipvsadm('-Ln')), []);
    assert.equal(backend.byHand('list tables inet').trim(), '');
    assert.deepEqual(
      node.route.routes().filter(({ type, protocol }) => type === 'local' && protocol === 72),
      [],
    );
  });
}

const skip = needsIpvs();
if (skip) test('ipvs: what every backend keeps', { skip }, () => {});
else ipvsContract();
