import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CiliumNode, CiliumPodIpPool } from '../api/ipam-types.ts';
import { CILIUM_NODE, CILIUM_POD_IP_POOL, type Kind } from '../api/kinds.ts';
import type { Node } from '../api/types.ts';
import { ApiError } from '../client/api-error.ts';
import { contains, firstOf, overlaps, parseCidr } from '../lib/ip.ts';
import { clone } from '../lib/json.ts';
import { assignBlocks, type BlocksClient } from './pod-blocks.ts';
import { blocksOf, blockSize, LEDGER, ledgerOf } from './pod-blocks-ledger.ts';
import { planBlocks } from './pod-blocks-plan.ts';
import { readyNode } from './testing.ts';

const pool = (
  name: string,
  cidr: string,
  maskSize: number,
  created = '2026-01-01T00:00:00Z',
): CiliumPodIpPool => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumPodIPPool',
  metadata: { name, creationTimestamp: created, resourceVersion: '1' },
  spec: { [cidr.includes(':') ? 'ipv6' : 'ipv4']: { cidrs: [cidr], maskSize } },
});

const holder = (
  name: string,
  needs: Record<string, number>,
  has: Record<string, string[]> = {},
): CiliumNode => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNode',
  metadata: { name, resourceVersion: '1' },
  spec: {
    ipam: {
      pools: {
        requested: Object.entries(needs).map(([each, count]) => ({
          pool: each,
          needed: { 'ipv4-addrs': count },
        })),
        allocated: Object.entries(has).map(([each, cidrs]) => ({ pool: each, cidrs })),
      },
    },
  },
});

const withLedger = (object: CiliumPodIpPool, blocks: Record<string, string>): CiliumPodIpPool => ({
  ...object,
  metadata: { ...object.metadata, annotations: { [LEDGER]: JSON.stringify({ serial: 1, blocks }) } },
});

const home = (name: string, ...podCIDRs: string[]): Node => readyNode(name, { podCIDRs });

test('a node that needs more than its first block gets another one, beside all that is in use', () => {
  const plan = planBlocks({
    pools: [pool('default', '10.0.0.0/22', 24)],
    holders: [holder('a', { default: 300 })],
    nodes: [home('a', '10.0.0.0/24'), home('b', '10.0.1.0/24')],
    meant: ['10.0.2.0/24'],
  });
  assert.deepEqual(plan.grants[0]?.allocated, [{ pool: 'default', cidrs: ['10.0.3.0/24'] }]);
  assert.deepEqual(plan.ledgers[0]?.ledger.blocks, { '10.0.3.0/24': 'a' });
});

test('of two pools that overlap the older one counts, and none may have what is of nodes or Services', () => {
  const { refused, grants } = planBlocks({
    pools: [pool('a', '10.0.0.0/16', 24), pool('b', '10.0.9.0/24', 26), pool('c', '10.96.0.0/24', 26)],
    holders: [holder('n', { a: 1, b: 1, c: 1 })],
    nodes: [home('n', '10.9.0.0/24')],
    meant: [],
    occupied: ['10.96.0.0/16'],
  });
  assert.deepEqual(
    refused.map((one) => [one.pool.metadata.name, one.why]),
    [
      ['b', '10.0.9.0/24 overlaps 10.0.0.0/16 of the pool a'],
      ['c', '10.96.0.0/24 overlaps 10.96.0.0/16, which is for nodes or Services'],
    ],
  );
  assert.deepEqual(grants[0]?.allocated, [{ pool: 'a', cidrs: ['10.0.0.0/24'] }]);
});

test('what is scarce is shared, and who gets none is told', () => {
  const plan = planBlocks({
    pools: [pool('p', '10.0.0.0/26', 28)],
    holders: [holder('a', { p: 1000 }), holder('b', { p: 1000 })],
    nodes: [home('a'), home('b')],
    meant: [],
  });
  assert.deepEqual(
    plan.grants.map(({ allocated }) => allocated[0]?.cidrs?.length),
    [2, 2],
  );
  assert.match(plan.grants[0]?.error ?? '', /pool p: no free \/28 left in 10\.0\.0\.0\/26/);
});

test('a promise that a controller did not keep is kept by the next one, or taken back', () => {
  const blocks = { '10.0.0.0/28': 'a', '10.0.0.16/28': 'gone', '10.0.0.32/28': 'b' };
  const plan = planBlocks({
    pools: [withLedger(pool('p', '10.0.0.0/24', 28), blocks)],
    holders: [holder('a', { p: 5 }), holder('b', { p: 0 })],
    nodes: [home('a'), home('b')],
    meant: [],
  });
  assert.deepEqual(plan.ledgers[0]?.ledger, { serial: 2, blocks: { '10.0.0.0/28': 'a' } });
  assert.deepEqual(
    plan.grants.map((one) => [one.holder.metadata.name, one.allocated]),
    [['a', [{ pool: 'p', cidrs: ['10.0.0.0/28'] }]]],
  );
});

test('a block that a node has and the ledger does not know is entered, unless it is another’s', () => {
  const plan = planBlocks({
    pools: [withLedger(pool('p', '10.0.0.0/24', 28), { '10.0.0.16/28': 'b' })],
    holders: [
      holder('a', {}, { p: ['10.0.0.0/28', '10.0.0.16/28'] }),
      holder('b', {}, { p: ['10.0.0.16/28'] }),
    ],
    nodes: [home('a'), home('b')],
    meant: [],
  });
  assert.deepEqual(plan.ledgers[0]?.ledger.blocks, { '10.0.0.0/28': 'a', '10.0.0.16/28': 'b' });
  assert.deepEqual(plan.grants[0]?.allocated, [{ pool: 'p', cidrs: ['10.0.0.0/28'] }]);
  assert.match(plan.grants[0]?.error ?? '', /10\.0\.0\.16\/28 .* is not this node’s/);
});

type Stored = { metadata: { name: string; resourceVersion?: string; annotations?: Record<string, string> } };

/** An API server of two kinds and fixed nodes, whose every request takes as long as the scheduler likes. */
function world(s: Pick<fc.Scheduler, 'schedule'>, nodes: readonly Node[], pools: readonly CiliumPodIpPool[]) {
  let revision = 1;
  const objects = new Map<string, Map<string, Stored>>([
    [CILIUM_POD_IP_POOL.resource, new Map(pools.map((one) => [one.metadata.name, clone(one)]))],
    [CILIUM_NODE.resource, new Map()],
    ['nodes', new Map(nodes.map((one) => [one.metadata.name, clone(one)]))],
  ]);
  const of = (kind: Kind) => objects.get(kind.resource)!;
  const holders = () => [...of(CILIUM_NODE).values()] as unknown as CiliumNode[];

  function check(): void {
    const all = [
      ...nodes.flatMap(({ spec }) => spec?.podCIDRs ?? []),
      ...holders().flatMap((one) => blocksOf(one)),
    ].map(parseCidr);
    for (const [i, a] of all.entries()) for (const b of all.slice(i + 1)) assert.ok(!overlaps(a, b));
  }

  /** `expect`: the version that it must have. */
  function put(kind: Kind, name: string, change: (object: Stored) => void, expect?: string): Stored {
    const object = of(kind).get(name);
    if (!object) throw new ApiError(404, 'NotFound', name);
    if (expect !== undefined && object.metadata.resourceVersion !== expect)
      throw new ApiError(409, 'Conflict', name);
    const next = clone(object);
    change(next);
    next.metadata.resourceVersion = String(++revision);
    of(kind).set(name, next);
    check();
    return next;
  }

  const wait = (label: string) => s.schedule(Promise.resolve(), label);
  /** Killed after so many requests, of which the last is or is not carried out. */
  const client = (requests: number): BlocksClient => {
    let left = requests;
    const turn = async (label: string) => {
      if (left-- <= 0) throw new Error('killed');
      await wait(label);
    };
    return {
      async list(kind: Kind) {
        await turn(`list ${kind.resource}`);
        return { metadata: {}, items: clone([...of(kind).values()]) } as never;
      },
      async patch(kind: Kind, name: string, _ns: undefined, patch: unknown) {
        await turn(`patch ${name}`);
        const { metadata, spec, status } = patch as Partial<CiliumNode> & { metadata?: Stored['metadata'] };
        const next = put(
          kind,
          name,
          (object) => {
            object.metadata.annotations = { ...object.metadata.annotations, ...metadata?.annotations };
            if (status) Object.assign(object, { status });
            const pools = (object as unknown as CiliumNode).spec?.ipam?.pools;
            if (pools && spec?.ipam?.pools?.allocated) pools.allocated = spec.ipam.pools.allocated;
          },
          metadata?.resourceVersion,
        );
        await wait(`answer ${name}`);
        return clone(next) as never;
      },
    } as BlocksClient;
  };

  /** What an agent does: asks for as many, and leaves the blocks that it does not need. */
  async function ask(name: string, count: number): Promise<void> {
    await wait(`ask ${name}`);
    const object = of(CILIUM_NODE).get(name);
    if (!object)
      of(CILIUM_NODE).set(name, {
        ...holder(name, { default: count }),
        metadata: { name, resourceVersion: String(++revision) },
      });
    else
      put(CILIUM_NODE, name, (one) => {
        const { pools } = (one as unknown as CiliumNode).spec.ipam ?? {};
        if (!pools) return;
        pools.requested = [{ pool: 'default', needed: { 'ipv4-addrs': count } }];
        const keep = Math.max(0, Math.ceil((count - 13) / 13));
        pools.allocated = (pools.allocated ?? []).map((each) => ({
          ...each,
          cidrs: each.cidrs?.slice(-keep || 99),
        }));
        if (keep === 0) pools.allocated = [];
      });
    await wait(`asked ${name}`);
  }

  async function vanish(name: string): Promise<void> {
    await wait(`vanish ${name}`);
    of(CILIUM_NODE).delete(name);
  }
  return {
    client,
    ask,
    vanish,
    holders,
    ledger: () => ledgerOf([...of(CILIUM_POD_IP_POOL).values()][0] as never),
  };
}

const names = ['a', 'b', 'c'];
const demands = fc.array(
  fc.tuple(
    fc.constantFrom(...names),
    fc.oneof(fc.integer({ min: 0, max: 90 }), fc.constant('vanish' as const)),
  ),
  { minLength: 1, maxLength: 10 },
);

test('no two nodes ever have one block, however controllers overlap and wherever they are killed', async () => {
  const cluster = [home('a', '10.0.0.0/28'), home('b', '10.0.0.16/28'), home('c', '10.0.0.32/28')];
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      demands,
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 2, maxLength: 4 }),
      async (s, asked, lives) => {
        const run = world(s, cluster, [pool('default', '10.0.0.0/24', 28)]);
        const controllers = lives.map(async (requests) => {
          const client = run.client(requests);
          for (;;) {
            const ended = await assignBlocks(client, { meant: [] }).catch((error: unknown) => {
              if (error instanceof assert.AssertionError) throw error;
              return undefined;
            });
            if (!ended) return;
          }
        });
        const agents = asked.map(([name, count]) =>
          count === 'vanish' ? run.vanish(name) : run.ask(name, count),
        );
        await s.waitFor(Promise.all([...controllers, ...agents]));
        const rest = async () => {
          for (let again = true; again; ) ({ again } = await assignBlocks(run.client(100), { meant: [] }));
          return assignBlocks(run.client(100), { meant: [] });
        };
        const { plan } = await s.waitFor(rest());
        assert.deepEqual([plan.ledgers, plan.grants], [[], []], 'nothing is left to do');
        const range = parseCidr('10.0.0.0/24');
        for (const one of run.holders()) {
          const blocks = blocksOf(one);
          assert.ok(blocks.every((cidr) => contains(range, firstOf(parseCidr(cidr)))));
          const needed = one.spec.ipam?.pools?.requested?.[0]?.needed?.['ipv4-addrs'] ?? 0;
          const has = [...blocks, '10.0.0.0/28'].reduce((sum, cidr) => sum + blockSize(parseCidr(cidr)), 0);
          const left = 16 - 3 - Object.keys(run.ledger().blocks).length;
          assert.ok(
            has >= needed || left === 0,
            `${one.metadata.name} has ${has} of ${needed}, ${left} blocks left`,
          );
        }
        const held = run.holders().flatMap((one) => blocksOf(one).map((cidr) => [cidr, one.metadata.name]));
        assert.deepEqual(run.ledger().blocks, Object.fromEntries(held));
      },
    ),
    { numRuns: 150 },
  );
});

test('a controller that was held up between promise and grant gives nothing that is another’s by then', async () => {
  const atOnce = { schedule: <T>(one: Promise<T>) => one };
  const cluster = [home('a', '10.0.0.0/28'), home('b', '10.0.0.16/28')];
  const run = world(atOnce, cluster, [pool('default', '10.0.0.0/26', 28)]);
  await run.ask('a', 39);
  const slow = run.client(100);
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const held = assignBlocks(
    {
      ...slow,
      async patch(kind, name, ...rest) {
        if (kind.resource === CILIUM_NODE.resource) {
          reached.resolve();
          await gate.promise;
        }
        return slow.patch(kind, name, ...rest);
      },
    },
    { meant: [] },
  );
  await reached.promise;
  assert.deepEqual(Object.keys(run.ledger().blocks), ['10.0.0.32/28', '10.0.0.48/28']);
  await run.ask('a', 1);
  await run.ask('b', 39);
  // One pass takes back what was promised, the next one gives it.
  for (let i = 0; i < 2; i++) await assignBlocks(run.client(100), { meant: [] });
  gate.resolve();
  assert.equal((await held).again, true);
  assert.deepEqual(run.ledger().blocks, { '10.0.0.32/28': 'b', '10.0.0.48/28': 'b' });
});
