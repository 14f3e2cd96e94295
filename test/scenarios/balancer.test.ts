import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBird } from '../../src/bgp/testing/bird.ts';
import { contains, parseAddress, parseCidr } from '../../src/lib/ip.ts';
import { askFrom, birdOutside, CLIENT, waitForHops, withRouter } from './bgp-lab.ts';
import { checkHostPorts } from './host-ports.ts';
import { execute, type LocalCluster, root, upCluster } from './local-cluster.ts';

interface Service {
  metadata: { name: string };
  spec: { healthCheckNodePort?: number; ports: { nodePort: number }[] };
  status: { loadBalancer: { ingress?: { ip: string }[] } };
}
interface Lease {
  metadata: { name: string };
  spec: { holderIdentity: string };
}
interface Pod {
  spec: { nodeName: string };
  status: { podIPs: { ip: string }[] };
}
interface Answer {
  code: number;
  /** Who the server saw, and on which node it is. */
  peer: string | undefined;
  node: string | undefined;
}

const isSix = (address: string) => address.includes(':');
const alone = (address: string) => `${address}/${isSix(address) ? 128 : 32}`;

const url = (host: string, port: number): string =>
  `http://${host.includes(':') ? `[${host}]` : host}:${port}/`;

/** From the machine outside of the cluster. */
async function ask({ paths }: LocalCluster, host: string, port: number): Promise<Answer> {
  const curl = ['curl', '-s', '-m', '2', '-w', '\n%{http_code}', url(host, port)];
  const { stdout } = await execute('nsenter', [`--net=${paths.netns('outside')}`, ...curl]);
  const code = Number(stdout.slice(stdout.lastIndexOf('\n') + 1));
  const text = stdout.slice(0, stdout.lastIndexOf('\n'));
  const body = code === 200 && text.includes('"peer"') ? (JSON.parse(text) as Record<string, unknown>) : {};
  const peer = body['peer'] as { address: string } | undefined;
  return { code, peer: peer?.address, node: body['node'] as string | undefined };
}

async function items<T>(cluster: LocalCluster, ...what: string[]): Promise<T[]> {
  return (JSON.parse(await cluster.must('get', ...what, '-o', 'json')) as { items: T[] }).items;
}

async function holderOf(cluster: LocalCluster, address: string): Promise<string | undefined> {
  const leases = await items<Lease>(cluster, 'leases', '-n', 'kube-system');
  const name = `heddle-l2-${address.replaceAll(':', '-')}`;
  return leases.find(({ metadata }) => metadata.name === name)?.spec.holderIdentity;
}

/** Tries until it is true, or the test's own time is over. */
async function until(done: () => Promise<boolean>): Promise<void> {
  while (!(await done())) await sleep(100);
}

test('load balancers get addresses that outside reaches, and that move when their node is cut off', {
  timeout: 300_000,
}, async (t) => {
  const cluster = await upCluster(t, join(root, 'test/manifests/balancer'), '--nodes', '3');
  const services = new Map<string, Service>();
  await until(async () => {
    for (const each of await items<Service>(cluster, 'services')) services.set(each.metadata.name, each);
    return ['anywhere', 'local'].every(
      (name) => services.get(name)?.status.loadBalancer.ingress?.length === 2,
    );
  });
  const addressesOf = (name: string): string[] =>
    (services.get(name)?.status.loadBalancer.ingress ?? []).map(({ ip }) => ip);
  const outside = { 4: '10.240.0.254', 6: 'fd00:10:240::fe' } as const;
  const servers = (await items<Pod>(cluster, 'pods')).map(({ spec }) => spec.nodeName);
  assert.equal(new Set(servers).size, 2);

  await t.test('both addresses of each answer, and Local keeps the address of the client', async () => {
    for (const name of ['anywhere', 'local'])
      for (const address of addressesOf(name)) {
        await until(async () => (await ask(cluster, address, 80)).code === 200);
        if (name !== 'local') continue;
        const { peer, node } = await ask(cluster, address, 80);
        assert.equal(peer, outside[address.includes(':') ? 6 : 4]);
        assert.equal(node, await holderOf(cluster, address));
      }
  });

  await t.test('a router that is told by BGP leads clients behind it to services and pods', async (st) => {
    await cluster.must('apply', '-f', join(root, 'test/manifests/bgp/router.yaml'));
    const {
      outside: router,
      client,
      router: bird,
      nodes,
    } = await withRouter(st, cluster, startBird, birdOutside);
    const hopsOf = (address: string, names: readonly string[]) =>
      nodes
        .filter(({ name }) => names.includes(name))
        .flatMap(({ addresses }) => addresses.filter((each) => isSix(each) === isSix(address)))
        .toSorted();
    for (const [name, on] of [
      ['anywhere', nodes.map((node) => node.name)],
      ['local', servers],
    ] as const)
      for (const address of addressesOf(name)) {
        await waitForHops(router, alone(address), hopsOf(address, on));
        const answer = await askFrom(client, address);
        assert.ok(answer && servers.includes(answer.node), address);
        if (name === 'local') assert.equal(answer.peer, CLIENT[isSix(address) ? 6 : 4]);
      }
    const [{ spec, status } = assert.fail()] = await items<Pod>(cluster, 'pods');
    for (const { ip } of status.podIPs) {
      const [range = ''] = nodes
        .flatMap(({ podCidrs }) => podCidrs)
        .filter((cidr) => contains(parseCidr(cidr), parseAddress(ip)));
      await waitForHops(router, range, hopsOf(ip, [spec.nodeName]));
      assert.deepEqual(await askFrom(client, ip, 8080), {
        node: spec.nodeName,
        peer: CLIENT[isSix(ip) ? 6 : 4],
      });
    }
    // From here on addresses are found by ARP and ND again.
    await bird.ask('down');
    for (const name of ['anywhere', 'local'])
      for (const address of addressesOf(name)) await waitForHops(router, alone(address), []);
    await cluster.must('delete', 'ciliumbgpclusterconfig', 'all');
  });

  await t.test('node ports answer on every node', async () => {
    const port = services.get('anywhere')?.spec.ports[0]?.nodePort ?? 0;
    for (const host of ['10.240.0.1', '10.240.0.2', '10.240.0.3', 'fd00:10:240::3'])
      assert.equal((await ask(cluster, host, port)).code, 200, host);
  });

  await t.test('ports of nodes lead to pods', (t) => checkHostPorts(t, cluster, 3));

  await t.test('health checks tell the nodes with a server from the others', async () => {
    const port = services.get('local')?.spec.healthCheckNodePort ?? 0;
    for (const n of [1, 2, 3]) {
      const code = servers.includes(`node-${n}`) ? 200 : 503;
      await until(async () => (await ask(cluster, `10.240.0.${n}`, port)).code === code);
    }
  });

  await t.test(
    'an address moves to the other node with a server, and every request is answered there',
    async () => {
      const [address = ''] = addressesOf('local');
      const before = (await holderOf(cluster, address)) ?? '';
      await execute('nsenter', [`--net=${cluster.paths.netns(before)}`, 'ip', 'link', 'set', 'eth0', 'down']);
      await until(async () => (await ask(cluster, address, 80)).code === 200);
      const after = await holderOf(cluster, address);
      assert.ok(after !== before && servers.includes(after ?? ''), `${before} → ${after}`);
      for (let i = 0; i < 20; i++) {
        const { code, node } = await ask(cluster, address, 80);
        assert.deepEqual([code, node], [200, after]);
      }
    },
  );
});
