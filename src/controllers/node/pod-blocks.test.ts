import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { CILIUM_NODE, CILIUM_POD_IP_POOL, NODE } from '../../api/kinds.ts';
import { createFakeClient, eventually, type FakeClient } from '../../client/fake.ts';
import { createInformer } from '../../client/informer.ts';
import { createIpam } from '../../ipam/ipam.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog as log } from '../../lib/log.ts';
import { assignBlocks } from '../pod-blocks.ts';
import { blocksOf, ledgerOf } from '../pod-blocks-ledger.ts';
import { readyNode } from '../testing.ts';
import { runPodBlocks } from './pod-blocks.ts';

const home = ['10.0.0.0/29'];

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'heddle-test-blocks-'));
});
after(() => rm(root, { recursive: true, force: true, maxRetries: 10 }));

async function setUp(t: TestContext, path?: string, client: FakeClient = createFakeClient()) {
  const folder = path ?? (await mkdtemp(join(root, 'node-')));
  const ipam = await createIpam({
    cidrs: home,
    path: join(folder, 'ipam.json'),
    log,
    coolingMs: 0,
    patienceMs: 60_000,
  });
  const stop = new AbortController();
  const pools = createInformer(client, CILIUM_POD_IP_POOL, { log });
  const holders = createInformer(client, CILIUM_NODE, { log });
  const nodes = createInformer(client, NODE, { log });
  const deps = {
    client,
    node: 'n',
    addresses: ['10.9.0.1'],
    home,
    ipam,
    pools,
    holders,
    nodes,
    clock: systemClock,
    log,
  };
  const done = [pools.run(stop.signal), holders.run(stop.signal), nodes.run(stop.signal)];
  await Promise.all([pools.synced(), holders.synced(), nodes.synced()]);
  done.push(runPodBlocks(deps, stop.signal));
  const end = async () => {
    stop.abort();
    await Promise.all(done);
  };
  t.after(end);
  return { client, ipam, folder, end };
}

async function cluster(client: FakeClient, cidrs = ['10.0.0.0/24']): Promise<void> {
  await client.create(NODE, readyNode('n', { podCIDRs: home }));
  await client.create(CILIUM_POD_IP_POOL, {
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name: 'default' },
    spec: { ipv4: { cidrs, maskSize: 28 } },
  });
}

const owner = (i: number) => ({ key: `p${i}/eth0`, label: `shop/web-${i}` });
const own = (client: FakeClient) => client.all(CILIUM_NODE)[0];
const asked = (client: FakeClient) => own(client)?.spec.ipam?.pools?.requested?.[0]?.needed?.['ipv4-addrs'];

const held = (client: FakeClient) => Object.keys(ledgerOf(client.all(CILIUM_POD_IP_POOL)[0]!).blocks).length;

/** A controller, until `done`. */
async function controlled(client: FakeClient, done: () => boolean): Promise<void> {
  for (let i = 0; i < 3000 && !done(); i++) {
    await assignBlocks(client, { meant: home });
    await systemClock.sleep(20);
  }
  assert.ok(done());
}

test('a node asks for a block before its first is used up, takes it up, and gives it back unused', async (t) => {
  const { client, ipam } = await setUp(t);
  await cluster(client);
  await eventually('it asks', () => asked(client) === 8);
  assert.deepEqual(own(client)?.spec.ipam?.podCIDRs, home);
  assert.equal(own(client)?.metadata.ownerReferences?.[0]?.kind, 'Node');
  const waiting = Array.from({ length: 12 }, (_, i) => ipam.allocate(owner(i)));
  await controlled(client, () => held(client) === 2 && ipam.list().length === 12);
  const all = await Promise.all(waiting);
  assert.equal(new Set(all.flatMap(({ addresses }) => addresses)).size, 12);
  assert.deepEqual(blocksOf(own(client)), ['10.0.0.16/28', '10.0.0.32/28']);
  for (let i = 0; i < 12; i++) await ipam.release(owner(i).key);
  await controlled(client, () => held(client) === 1 && blocksOf(own(client)).length === 1);
});

test('what was given is known after a restart without an API server, and claimed by a node made anew', async (t) => {
  const first = await setUp(t);
  await cluster(first.client);
  await eventually('it asks', () => asked(first.client) === 8);
  const waiting = Array.from({ length: 10 }, (_, i) => first.ipam.allocate(owner(i)));
  await controlled(first.client, () => first.ipam.list().length === 10 && asked(first.client) === 24);
  await Promise.all(waiting);
  const had = first.ipam.list();
  await first.end();
  const again = await createIpam({ cidrs: home, path: join(first.folder, 'ipam.json'), log });
  assert.deepEqual(again.list(), had);
  const client = createFakeClient();
  const second = await setUp(t, first.folder, client);
  await cluster(client);
  await eventually('it claims its blocks', () => blocksOf(own(client)).length > 0);
  const claimed = blocksOf(own(client));
  assert.equal(claimed[0], '10.0.0.16/28');
  await assignBlocks(client, { meant: home });
  const { blocks } = ledgerOf(client.all(CILIUM_POD_IP_POOL)[0]!);
  for (const block of claimed) assert.equal(blocks[block], 'n');
  assert.deepEqual(second.ipam.list(), had);
});

test('where the pool has no more blocks, a pod is refused at once, and served when an address is free', async (t) => {
  const { client, ipam } = await setUp(t);
  await cluster(client, ['10.0.0.0/28']);
  await eventually('it asks', () => asked(client) === 8);
  await assignBlocks(client, { meant: home });
  await eventually('it heard that there is none', () => !ipam.grows('default'));
  for (let i = 0; i < 5; i++) await ipam.allocate(owner(i));
  await assert.rejects(
    ipam.allocate(owner(5)),
    /pool default on this node \(10\.0\.0\.0\/29\): all 5 are taken, most by shop\/web \(5\)/,
  );
  await ipam.release(owner(3).key);
  assert.equal((await ipam.allocate(owner(5))).addresses.length, 1);
});

test('blocks of which all is reserved do not keep a node from getting further ones', async (t) => {
  const { client, ipam } = await setUp(t);
  await cluster(client);
  await eventually('the pool is known', () => ipam.grows('default'));
  ipam.setReserved(['10.0.0.0/27']);
  const waiting = ipam.allocate(owner(0));
  await controlled(client, () => ipam.list().length === 1);
  assert.deepEqual((await waiting).addresses, ['10.0.0.34']);
});
