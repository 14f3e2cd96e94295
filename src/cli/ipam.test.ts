import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { schemaViolations } from '../../test/schema.ts';
import type { CiliumPodIpPool } from '../api/ipam-types.ts';
import { ipamReport } from '../controllers/node/ipam-report.ts';
import { createIpam } from '../ipam/ipam.ts';
import { silentLog as log } from '../lib/log.ts';
import { addressesText, blocksText, countText, poolsText, showText } from './ipam-text.ts';
import { addressRows, blockRows, poolRows, reservationRows } from './ipam-view.ts';

const pool = (name: string, spec: CiliumPodIpPool['spec'], deleted = false): CiliumPodIpPool => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumPodIPPool',
  metadata: { name, ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}) },
  spec,
});

const pools = [
  pool('default', {
    ipv4: { cidrs: ['10.0.0.0/24'], maskSize: 28 },
    ipv6: { cidrs: ['fd00::/48'], maskSize: 64 },
  }),
  pool('blue', { ipv4: { cidrs: ['10.7.0.0/24'], maskSize: 28 } }, true),
];
const reservations = [{ name: 'routers', cidrs: ['10.0.0.4/31'] }];

/** Its address .2 rests, .3 waits for its pod, .4 is reserved and has been asked for. */
async function nodes(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'heddle-test-ipam-cli-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const ipam = await createIpam({
    cidrs: ['10.0.0.0/28', 'fd00::/64'],
    path: join(folder, 'ipam.json'),
    log,
  });
  ipam.setReserved(['10.0.0.4/31']);
  ipam.setPools(new Map([['blue', { families: [4], blocks: ['10.7.0.0/28'], grows: true }]]));
  const owner = (name: string) => ({ key: `${name}/eth0`, label: `shop/${name}` });
  await ipam.allocate(owner('gone'));
  await ipam.allocate({ ...owner('db-0'), sticky: 60_000 });
  await ipam.allocate(owner('router'), { addresses: ['10.0.0.4'] });
  await ipam.allocate(owner('web-abcde'));
  await ipam.allocate(owner('web-fghij'), { pools: { 4: 'blue', 6: 'default' } });
  await ipam.release('gone/eth0');
  await ipam.release('db-0/eth0');
  return [{ node: 'node-1', answer: ipamReport(ipam, pools, reservations) }];
}

test('pools, blocks and addresses are shown with what each is, and as docs/schemas say', async (t) => {
  const asked = await nodes(t);
  const rows = poolRows(asked);
  assert.deepEqual(schemaViolations('ipam-pools', { nodes: ['node-1'], pools: rows }), []);
  assert.match(poolsText(rows), /blue \(deleted\) +IPv4 +10\.7\.0\.0\/24 +\/28 +1 of 16 +13 +1 +0 +0 +0 +12/);
  assert.match(poolsText(rows), /default +IPv4 +10\.0\.0\.0\/24 +\/28 +1 of 16 +11 +2 +1 +1 +2 +8/);
  const blocks = blockRows(asked, new Set(['10.0.0.0/28', 'fd00::/64']));
  assert.deepEqual(schemaViolations('ipam-blocks', { blocks }), []);
  assert.match(blocksText(blocks), /node-1 +blue +10\.7\.0\.0\/28 +given +13 +1/);
  assert.match(blocksText(blocks), /node-1 +default +10\.0\.0\.0\/28 +first +11 +2/);
  const addresses = addressRows(asked);
  assert.deepEqual(
    addresses
      .filter(({ address }) => address.startsWith('10.'))
      .map((one) => [one.address, one.state, one.owner]),
    [
      ['10.0.0.2', 'cooling', null],
      ['10.0.0.3', 'kept', 'shop/db-0'],
      ['10.0.0.4', 'taken', 'shop/router'],
      ['10.0.0.6', 'taken', 'shop/web-abcde'],
      ['10.7.0.2', 'taken', 'shop/web-fghij'],
    ],
  );
  const reserved = reservationRows(asked);
  assert.deepEqual(schemaViolations('ipam-addresses', { addresses, reservations: reserved }), []);
  assert.match(addressesText(addresses, undefined), /10\.0\.0\.4 +default +taken +shop\/router +- +routers/);
  assert.match(addressesText([], '10.0.0.9'), /10\.0\.0\.9 is not in use/);
  const value = {
    nodes: ['node-1'],
    pools: rows,
    users: [{ workload: 'shop/web', pods: 2 }],
    reservations: reserved,
  };
  assert.deepEqual(schemaViolations('ipam-show', value), []);
  assert.match(showText(value), /default +IPv4 +10\.0\.0\.0\/24 +208 +2 \(1%\) +203 \(98%\)/);
  assert.match(showText(value), /shop\/web +2\n/);
  assert.match(showText(value), /routers +10\.0\.0\.4\/31/);
});

test('what is free, waits or is taken of a block is counted once each', async (t) => {
  const [node] = await nodes(t);
  const [first] = node?.answer.usage.filter(({ cidr }) => cidr === '10.0.0.0/28') ?? [];
  // One of the two that are taken is reserved.
  assert.equal(first && first.free + first.cooling + first.kept + first.taken - 1, first?.size);
});

test('numbers of addresses that no one counts are powers of two', () => {
  assert.deepEqual([253, 2 ** 32, 2 ** 64 - 2, 2 ** 80].map(countText), [
    '253',
    '4294967296',
    '2^64',
    '2^80',
  ]);
});
