/** Nodes move between data paths under traffic, by sockets with hooks and without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { needsBpf } from '../kernel/bpf/test-object.ts';
import { openConntrack } from '../kernel/conntrack.ts';
import { silentLog } from '../lib/log.ts';
import type { Backend } from './backend.ts';
import { createMovableBackend, type Movable } from './movable.ts';
import { frontendKey, type ServiceFrontend } from './plan/tables.ts';
import { createCluster, type OpenBackend, serviceAddresses } from './testing/cluster.ts';
import { openEbpf, openEbpfAtTc } from './testing/ebpf.ts';
import { frontendsOn, TARGETS } from './testing/frontends.ts';
import { OUTSIDE } from './testing/lab.ts';
import { openNftables } from './testing/nftables.ts';
import { FAMILIES, NODE_PORT, PODS, serveAll, wish } from './testing/service-lab.ts';
import { type PushedTcp, servePushes } from './testing/pushes.ts';
import { dialTcp, keepTcp, keepUdp, serveTcp } from './testing/traffic.ts';
import { homeCgroup, startTraffic, upgradeCluster } from './testing/upgrade.ts';

const movable =
  (ebpf: OpenBackend): OpenBackend<Movable> =>
  (t, node) =>
    createMovableBackend({
      initial: 'ebpf',
      used: () => [],
      takesOver: () => true,
      log: silentLog,
      open: (name): Backend => ({ ...(name === 'ebpf' ? ebpf : openNftables)(t, node), name }),
    });

test('nodes move to nftables and back under traffic, and nothing that is translated ends', {
  skip: needsBpf,
  timeout: 480_000,
}, async (t) => {
  const home = homeCgroup();
  const cluster = await upgradeCluster(t, movable(openEbpf));
  const traffic = await startTraffic(t, cluster, home, { rate: 500, connections: 40 });
  for (const to of ['nftables', 'ebpf', 'nftables'])
    for (const backend of cluster.backends) {
      await sleep(300);
      assert.deepEqual(await backend.willCut(to), []);
      await backend.move(to);
      assert.deepEqual(await backend.verify(), []);
    }
  await sleep(500);
  t.diagnostic(await traffic.finish());
});

test('connections of pods, of nodes and of the outside, through all that translates, go along with each move', {
  skip: needsBpf,
  timeout: 240_000,
}, async (t) => {
  const cluster = await createCluster(t, movable(openEbpfAtTc), PODS);
  serveAll(t, cluster);
  const { lab, pod, backends } = cluster;
  serveTcp(t, lab.outside, 9000, 'outside');
  const wishes = [
    wish('ClusterIP', [pod('b')]),
    wish('ClusterIP', [pod('c')], { addresses: serviceAddresses(2) }),
    wish('ClusterIP', [pod('a')], { addresses: serviceAddresses(3) }),
    wish('NodePort', [pod('b')]),
    wish('NodePort', [pod('c')], { port: NODE_PORT + 1 }),
    wish('ClusterIP', [{ ...pod('b'), name: 'outside', node: '', addresses: OUTSIDE }], {
      addresses: serviceAddresses(4),
      target: 9000,
    }),
    wish('ClusterIP', [pod('c')], { protocol: 'UDP' }),
  ];
  await cluster.setFrontends(wishes);
  // A move programs what the plan says, which `setFrontends` passes by.
  for (const [i, { state }] of cluster.plans.entries())
    for (const each of frontendsOn(lab.nodes[i]!, wishes))
      (state.services as Map<string, ServiceFrontend>).set(frontendKey(each), each);
  const node = lab.nodes[0]!;
  const kept: (readonly [string, () => Promise<boolean>])[] = [];
  for (const family of FAMILIES) {
    const service = (index: number) => [serviceAddresses(index)[family], 80] as const;
    const own = node.remote.addresses[family] ?? '';
    for (const [what, ns, host, port] of [
      ['a pod to its neighbour', pod('a').ns, ...service(1)],
      ['a pod to another node', pod('a').ns, ...service(2)],
      ['a pod to itself', pod('a').ns, ...service(3)],
      ['a pod to the outside', pod('a').ns, OUTSIDE[family], 9000],
      ['a pod to the outside by a service', pod('a').ns, ...service(4)],
      ['a pod straight', pod('a').ns, pod('c').addresses[family], TARGETS.TCP],
      ['a node to its pod', node.ns, ...service(1)],
      ['a node to another’s', node.ns, ...service(2)],
      ['the outside to a node’s pod', lab.outside, own, NODE_PORT],
      ['the outside to another’s', lab.outside, own, NODE_PORT + 1],
    ] as const)
      kept.push([`${what}, ${host}`, (await keepTcp(t, ns, host, port)).echo]);
    const ask = keepUdp(t, pod('a').ns, family === 1);
    kept.push([`datagrams, ${family}`, async () => (await ask(...service(1))).server === 'c']);
  }
  for (const to of ['nftables', 'ebpf', 'nftables'])
    for (const backend of backends) {
      await backend.move(to);
      const dead = [];
      for (const [what, echo] of kept) if (!(await echo())) dead.push(what);
      assert.deepEqual(dead, [], `${to} at ${backends.indexOf(backend)}`);
    }
});

test('a connection goes along also where its server speaks next, and while the former programs go one by one', {
  skip: needsBpf,
  timeout: 240_000,
}, async (t) => {
  /** All that is in force at that moment has to carry it: then nothing of the former may be needed. */
  let beforeRemoval: (() => Promise<void>) | undefined;
  const open: OpenBackend = (lab, node) => {
    const ebpf = openEbpfAtTc(lab, node);
    return {
      ...ebpf,
      async remove() {
        await beforeRemoval?.();
        await ebpf.remove?.();
      },
    };
  };
  const cluster = await createCluster(t, movable(open), PODS);
  const { pod, backends } = cluster;
  // Whoever is met first in the middle of a connection must not be taken for its client.
  await cluster.setPolicies({
    servers: { podSelector: { matchLabels: { app: 'c' } }, policyTypes: ['Egress'], egress: [] },
    clients: { podSelector: { matchLabels: { app: 'a' } }, policyTypes: ['Ingress'], ingress: [] },
  });
  const kept: (readonly [string, PushedTcp])[] = [];
  const server = await servePushes(t, pod('c').ns, TARGETS.TCP);
  cluster.setService('s', 1, [{ port: 80, target: TARGETS.TCP }], [pod('c')]);
  await cluster.apply();
  for (const family of FAMILIES) {
    const { addresses } = pod('c');
    kept.push(['straight', await server.keep(pod('a').ns, addresses[family], TARGETS.TCP)]);
    kept.push(['by the service', await server.keep(pod('a').ns, serviceAddresses(1)[family], 80)]);
  }
  const pushed = async (when: string): Promise<void> => {
    const dead = [];
    for (const [what, { push }] of kept) if (!(await push())) dead.push(what);
    assert.deepEqual(dead, [], when);
  };
  await pushed('under eBPF');
  for (const backend of backends) {
    beforeRemoval = () => pushed(`before the programs of ${backends.indexOf(backend)} go`);
    assert.deepEqual(await backend.flows?.().then((all) => all.length > 0), true);
    await backend.move('nftables');
    await pushed(`nftables at ${backends.indexOf(backend)}`);
  }
});

test('what the kernel tracked before eBPF carried the node leads nobody to where it did, back at nftables', {
  skip: needsBpf,
}, async (t) => {
  const cluster = await createCluster(t, movable(openEbpfAtTc), PODS);
  serveAll(t, cluster);
  const { lab, pod, backends } = cluster;
  cluster.setService('s', 1, [{ port: 80, target: TARGETS.TCP }], [pod('b')]);
  await cluster.apply();
  const [host] = serviceAddresses(1);
  const [[src], localPort] = [pod('a').addresses, 40_000];
  const conntrack = openConntrack(lab.nodes[0]!.ns);
  t.after(() => conntrack.close());
  const original = { protocol: 6, src, srcPort: localPort, dst: host, dstPort: 80 };
  const reply = { protocol: 6, src: '10.244.1.99', srcPort: 8080, dst: src, dstPort: localPort };
  assert.equal(conntrack.add([{ original, reply, timeout: 3600, answered: true }]), 1);
  await backends[0]!.move('nftables');
  const answer = await dialTcp(pod('a').ns, host, 80, { localPort, localAddress: src, timeoutMs: 2000 });
  assert.equal(answer.server, 'b');
});
