/** Services lose a family and get it again on a live cluster, under traffic on the family that stays. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { kubectl } from '../kubectl.ts';
import { deepOnly } from './deep-only.ts';
import {
  ask,
  balancedAt,
  holds,
  isSix,
  listed,
  lookUp,
  NODES,
  type Pod,
  type Service,
} from './family-cluster.ts';
import { type LocalCluster, root, upCluster } from './local-cluster.ts';
import { placeIn, startTraffic, targetsOf } from './traffic.ts';

type Target = readonly [host: string, port: number];
/** Where the Services are reached, by family. */
interface Ways {
  readonly inside: readonly Target[];
  readonly outside: readonly Target[];
}

const NAMES = ['server', 'headless', 'ported', 'balanced'];
const ZONE = 'default.svc.cluster.local.';

async function servicesOf(cluster: LocalCluster): Promise<Map<string, Service>> {
  const all = await listed<Service>(cluster, 'services');
  return new Map(all.map((service) => [service.metadata.name, service]));
}

function waysOf(services: ReadonlyMap<string, Service>, family: 4 | 6): Ways {
  const get = (name: string) => services.get(name) ?? assert.fail(`there is no Service ${name}`);
  const own = (addresses: readonly string[]) =>
    addresses.filter((address) => isSix(address) === (family === 6));
  const nodePort = get('ported').spec.ports[0]?.nodePort ?? assert.fail('no node port');
  const balanced = own(balancedAt(get('balanced'))).map((address): Target => [address, 80]);
  const onNodes = NODES[family].map((node): Target => [node, nodePort]);
  const cluster = ['server', 'ported', 'balanced'].flatMap((name) => own(get(name).spec.clusterIPs));
  return {
    inside: [...cluster.map((address): Target => [address, 80]), ...onNodes, ...balanced],
    outside: [...onNodes, ...balanced],
  };
}

async function answering(cluster: LocalCluster, ways: Ways, seconds: number): Promise<Target[]> {
  const from = [
    ['friend', ways.inside],
    ['outside', ways.outside],
  ] as const;
  const answers = await Promise.all(
    from.map(async ([place, targets]) => {
      const answer = await ask(cluster, place, targets, seconds);
      return targets.filter(([host, port]) => answer(host, port));
    }),
  );
  return answers.flat();
}

/** All four are of IPv6 too: in their names, their slices, and wherever one calls. */
async function bothFamilies(cluster: LocalCluster): Promise<Ways> {
  let ways: Ways = { inside: [], outside: [] };
  await holds(async () => {
    const services = await servicesOf(cluster);
    ways = waysOf(services, 6);
    assert.equal(ways.inside.length, 3 + 2 + 1, 'an address each, two nodes, a balancer');
    assert.deepEqual(await sixNames(cluster), [1, 2, 1, 1]);
    assert.deepEqual(await answering(cluster, ways, 10), [...ways.inside, ...ways.outside]);
  });
  return ways;
}

/** None is of IPv6: `gone` are the ways that led to them. */
async function oneFamily(cluster: LocalCluster, gone: Ways): Promise<void> {
  await holds(async () => {
    for (const name of NAMES) {
      const { spec, status } = (await servicesOf(cluster)).get(name) ?? assert.fail();
      assert.deepEqual([spec.ipFamilies, spec.ipFamilyPolicy], [['IPv4'], 'SingleStack'], name);
      assert.ok(
        ![...spec.clusterIPs, ...(status.loadBalancer.ingress ?? []).map(({ ip }) => ip)].some(isSix),
      );
    }
    assert.deepEqual(await sixNames(cluster), [0, 0, 0, 0]);
    assert.deepEqual(await slicesOfSix(cluster), []);
    assert.deepEqual(await answering(cluster, gone, 1), []);
  });
}

/** How many IPv6 addresses each name stands for; a name without any exists all the same. */
async function sixNames(cluster: LocalCluster): Promise<number[]> {
  const questions = NAMES.map((name) => `${name}.${ZONE} AAAA`);
  const answers = await lookUp(cluster, 'friend', questions);
  for (const { status } of answers) assert.equal(status, 'NOERROR');
  return answers.map(({ records }) => records.length);
}

async function slicesOfSix(cluster: LocalCluster): Promise<string[]> {
  const slices = await listed<{ addressType: string; metadata: { labels: Record<string, string> } }>(
    cluster,
    'endpointslices',
  );
  return slices
    .filter(({ addressType }) => addressType === 'IPv6')
    .map(({ metadata }) => metadata.labels['kubernetes.io/service-name'] ?? '')
    .filter((name) => NAMES.includes(name));
}

function patcher(t: TestContext, cluster: LocalCluster): (ipFamilyPolicy: string) => Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'heddle-kubectl-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  return async (ipFamilyPolicy) => {
    const args = ['patch', 'service', ...NAMES, '-p', JSON.stringify({ spec: { ipFamilyPolicy } })];
    const { code, stderr } = await kubectl(args, { kubeconfig: cluster.paths.kubeconfig, home });
    assert.equal(code, 0, stderr);
  };
}

for (const datapath of ['ebpf', 'nftables', 'iptables'])
  test(`Services lose a family and get it again, and the other one fails nobody, under ${datapath}`, {
    timeout: 400_000,
    skip: deepOnly('src/apiserver/service-families.test.ts holds what changes'),
  }, async (t) => {
    const cluster = await upCluster(t, join(root, 'test/manifests/families'), '--datapath', datapath);
    const patch = patcher(t, cluster);
    let six = await bothFamilies(cluster);
    const before = await servicesOf(cluster);
    const { inside, outside } = waysOf(before, 4);
    assert.equal((await answering(cluster, { inside, outside }, 10)).length, inside.length + outside.length);
    const friend = (await listed<Pod>(cluster, 'pods')).find(({ metadata }) => metadata.name === 'friend');
    const places = [
      [placeIn(cluster, 'node-1', friend?.metadata.uid ?? ''), inside],
      [{ netns: cluster.paths.netns('outside') }, outside],
    ] as const;
    const running = await Promise.all(
      places.map(([place, targets]) =>
        startTraffic(
          t,
          place,
          targets.flatMap(([host, port]) => targetsOf([host], port)),
        ),
      ),
    );
    for (const policy of ['PreferDualStack', 'RequireDualStack']) {
      await patch('SingleStack');
      await oneFamily(cluster, six);
      await patch(policy);
      six = await bothFamilies(cluster);
      for (const name of NAMES)
        assert.equal((await servicesOf(cluster)).get(name)?.spec.ipFamilyPolicy, policy, name);
    }
    // What is there already is not given anew.
    await patch('PreferDualStack');
    assert.deepEqual(waysOf(await servicesOf(cluster), 6), six);
    assert.deepEqual(waysOf(await servicesOf(cluster), 4), { inside, outside });
    for (const traffic of running) {
      const { failures, counts } = await traffic.stop();
      assert.deepEqual(failures, []);
      assert.equal(counts.reconnects, 0, 'connections that were open stay open');
      assert.ok(counts.new > 20 && counts.kept > 20, JSON.stringify(counts));
    }
  });
