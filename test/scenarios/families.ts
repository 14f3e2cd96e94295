/** What must hold of a cluster's network whatever its families and its data path: one suite, run on each kind of cluster. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { kubectl } from '../kubectl.ts';
import {
  addressesOf,
  ask,
  balancedAt,
  familiesOf,
  type Family,
  holds,
  listed,
  NODES,
  of,
  OUTSIDE,
  type Pod,
  type Service,
  type Things,
} from './family-cluster.ts';
import { checkGuard, checkHealth, checkInside, checkNames, checkVerdicts } from './family-verdicts.ts';
import type { LocalCluster } from './local-cluster.ts';

const HOST_PORT = 18_080;

/** `families`: of the cluster, the first one first. With `test/manifests/families`, and any others, on two nodes. */
export async function checkFamilies(
  t: TestContext,
  cluster: LocalCluster,
  families: readonly Family[],
): Promise<void> {
  await applySingles(t, cluster, families);
  const things = await gather(cluster, families);
  const parts: readonly (readonly [string, (things: Things) => Promise<void>])[] = [
    ['pods, nodes, Services and slices have addresses of the families, as kubectl shows', checkObjects(t)],
    ['pods reach each other on a node and between nodes, and are seen as they are', checkPods],
    ['pods reach every kind of Service', checkServices],
    ['node ports, load balancers and ports of nodes are reached from outside, and from nodes', checkOutside],
    ['names are of the families that are there; the others are no data, not no names', checkNames],
    ['a policy lets through and denies the same by each family', checkGuard],
    ['every verdict is what the policies say, and no family has one of its own', checkVerdicts],
    ['a pod finds its own files, runs programs and is read; probes find it', checkInside],
    ['status and doctor find nothing wrong', checkHealth],
  ];
  for (const [name, part] of parts) await t.test(name, () => part(things));
}

/** A Service of each family alone. */
async function applySingles(t: TestContext, cluster: LocalCluster, families: readonly Family[]) {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-families-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'singles.yaml');
  const one = (family: Family) =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: `only-${family}` },
      spec: {
        ipFamilyPolicy: 'SingleStack',
        ipFamilies: [`IPv${family}`],
        selector: { app: 'server' },
        ports: [{ name: 'http', port: 80, targetPort: 'http' }],
      },
    });
  writeFileSync(file, families.map(one).join('\n---\n'));
  await cluster.must('apply', '-f', file);
}

async function gather(cluster: LocalCluster, families: readonly Family[]): Promise<Things> {
  let services: Service[] = [];
  await holds(async () => {
    services = await listed<Service>(cluster, 'services');
    const balanced = services.find(({ metadata }) => metadata.name === 'balanced');
    assert.equal(balanced && balancedAt(balanced).length, families.length);
  });
  const pods = await listed<Pod>(cluster, 'pods');
  const named = <T extends { metadata: { name: string } }>(all: readonly T[], name: string): T =>
    all.find(({ metadata }) => metadata.name === name) ?? assert.fail(`there is no ${name}`);
  const servers = pods
    .filter(({ metadata }) => metadata.labels?.['app'] === 'server')
    .toSorted((a, b) => (a.spec.nodeName < b.spec.nodeName ? -1 : 1));
  return {
    cluster,
    families,
    servers,
    pod: (name) => named(pods, name),
    service: (name) => named(services, name),
  };
}

const checkObjects =
  (t: TestContext) =>
  async ({ cluster, families, servers, pod, service }: Things): Promise<void> => {
    assert.deepEqual(
      servers.map(({ spec }) => spec.nodeName),
      ['node-1', 'node-2'],
    );
    for (const each of [...servers, pod('friend'), pod('stranger')]) {
      const { podIP, hostIP, hostIPs } = each.status;
      assert.deepEqual(familiesOf(addressesOf(each)), families);
      assert.equal(podIP, addressesOf(each)[0]);
      assert.deepEqual(
        hostIPs.map(({ ip }) => ip),
        families.map((family) => NODES[family][each.spec.nodeName === 'node-1' ? 0 : 1]),
      );
      assert.equal(hostIP, hostIPs[0]?.ip);
    }
    for (const name of ['server', 'ported', 'balanced', 'headless']) {
      const { clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy } = service(name).spec;
      assert.equal(ipFamilyPolicy, 'PreferDualStack');
      assert.deepEqual(
        ipFamilies,
        families.map((family) => `IPv${family}`),
        name,
      );
      assert.equal(clusterIP, clusterIPs[0]);
      if (name === 'headless') assert.deepEqual(clusterIPs, ['None']);
      else assert.deepEqual(familiesOf(clusterIPs), families, name);
    }
    for (const family of families)
      assert.deepEqual(familiesOf(service(`only-${family}`).spec.clusterIPs), [family]);
    const home = mkdtempSync(join(tmpdir(), 'heddle-kubectl-'));
    t.after(() => rmSync(home, { recursive: true, force: true }));
    const kube = async (...args: string[]) => {
      const { code, stdout, stderr } = await kubectl(['get', ...args], {
        kubeconfig: cluster.paths.kubeconfig,
        home,
      });
      assert.equal(code, 0, stderr);
      return stdout.split('\n').map((line) => line.split(/\s+/));
    };
    const columns = (path: string) => ['-o', `custom-columns=N:.metadata.name,A:${path}`];
    const shown = (lines: string[][], name: string) => lines.find(([first]) => first === name)?.[1];
    const pods = await kube('pods', ...columns('.status.podIPs[*].ip'));
    assert.equal(shown(pods, 'friend'), addressesOf(pod('friend')).join());
    const services = await kube('services', ...columns('.spec.clusterIPs[*]'));
    assert.equal(shown(services, 'server'), service('server').spec.clusterIPs.join());
    const nodes = await kube(
      'nodes',
      ...columns('.status.addresses[?(@.type=="InternalIP")].address,C:.spec.podCIDRs[*]'),
    );
    const [, addresses = '', ranges = ''] = nodes.find(([first]) => first === 'node-1') ?? [];
    assert.deepEqual(
      addresses.split(','),
      families.map((family) => NODES[family][0]),
    );
    assert.deepEqual(familiesOf(ranges.split(',')), families);
    const slices = await kube('endpointslices', '-o', 'custom-columns=T:.addressType', '--no-headers');
    assert.deepEqual(
      [...new Set(slices.flat())].filter((type) => type !== '').toSorted(),
      families.map((family) => `IPv${family}`),
    );
  };

async function checkPods({ cluster, families, servers, pod }: Things): Promise<void> {
  const targets = servers.flatMap(addressesOf).map((address) => [address, 8080] as const);
  const answer = await ask(cluster, 'friend', targets);
  for (const server of servers)
    for (const family of families) {
      const [own = ''] = of(family, addressesOf(server));
      const [friend] = of(family, addressesOf(pod('friend')));
      assert.deepEqual(
        answer(own, 8080),
        { pod: server.metadata.name, node: server.spec.nodeName, peer: friend },
        own,
      );
    }
}

const nodeAddresses = (families: readonly Family[]) => families.flatMap((family) => [...NODES[family]]);

/** All that leads to the servers, but for their own addresses and cluster addresses. */
function fromOutside({ families, service }: Things): (readonly [string, number])[] {
  const nodePort = service('ported').spec.ports[0]?.nodePort ?? assert.fail('no node port');
  return [
    ...nodeAddresses(families).flatMap((node) => [[node, nodePort] as const, [node, HOST_PORT] as const]),
    ...balancedAt(service('balanced')).map((address) => [address, 80] as const),
  ];
}

async function answeredBy(things: Things, from: string, targets: readonly (readonly [string, number])[]) {
  const names = things.servers.map(({ metadata }) => metadata.name);
  await holds(async () => {
    const answer = await ask(things.cluster, from, targets);
    const silent = targets.filter(([host, port]) => !names.includes(answer(host, port)?.pod ?? ''));
    assert.deepEqual(silent, [], `from ${from}`);
  });
}

async function checkServices(things: Things): Promise<void> {
  const { families, service } = things;
  const singles = families.map((family) => `only-${family}`);
  const addresses = ['server', 'ported', 'balanced', ...singles].flatMap(
    (name) => service(name).spec.clusterIPs,
  );
  const names = ['server', 'ported', 'balanced', ...singles];
  await answeredBy(things, 'friend', [
    ...[...addresses, ...names].map((host) => [host, 80] as const),
    ['headless', 8080],
    ...fromOutside(things),
  ]);
}

async function checkOutside(things: Things): Promise<void> {
  const { cluster, families } = things;
  await Promise.all(
    ['outside', 'node-1', 'node-2'].map((from) => answeredBy(things, from, fromOutside(things))),
  );
  const hosts = families.map((family) => [NODES[family][1], HOST_PORT] as const);
  const answer = await ask(cluster, 'outside', hosts);
  for (const family of families)
    assert.equal(answer(NODES[family][1], HOST_PORT)?.peer, OUTSIDE[family], 'the client is seen as it is');
}
