/** `heddle doctor` on a cluster that is well, on one that somebody broke by hand, and after it mended that. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { schemaViolations } from '../schema.ts';
import { holds, listed, type Pod } from './family-cluster.ts';
import { execute, type LocalCluster, root, upCluster } from './local-cluster.ts';

interface Report {
  readonly nodes: readonly { readonly node: string }[];
  readonly findings: readonly {
    readonly node: string | null;
    readonly check: string;
    readonly items: readonly string[];
  }[];
  readonly fixed: readonly string[];
}

test('doctor finds what was changed by hand and what belongs to nobody, and mends it', {
  timeout: 300_000,
}, async (t) => {
  const cluster = await upCluster(t, join(root, 'test/manifests/rolling'));
  const doctor = async (...flags: string[]) => {
    const { code, stdout, stderr } = await cluster.heddle('doctor', '-o', 'json', ...flags);
    assert.ok(code === 0 || code === 1, stderr);
    const report = JSON.parse(stdout) as Report;
    assert.deepEqual(schemaViolations('doctor', report), []);
    // Of other clusters of the machine nothing is said here.
    return { code, ...report, findings: report.findings.filter(({ node }) => node !== null) };
  };
  const first = await doctor();
  assert.deepEqual(
    first.nodes.map(({ node }) => node),
    ['node-1', 'node-2'],
  );
  assert.deepEqual(first.findings, []);
  assert.match(await cluster.must('doctor'), /node-1, node-2/);

  const netns = cluster.paths.netns('node-1');
  const broken = await execute('sh', [
    '-ec',
    `in_node() { nsenter --net=${netns} ip "$@"; }
     in_node link add stray type bridge
     in_node link set stray alias heddle:pod:shop/gone:0b5e1c0e
     in_node route add 10.244.0.250/32 proto 72 dev $(in_node -o link | grep -o 'hd[0-9a-f]\\{10\\}' | head -n 1)
     in_node route del $(in_node route show proto 72 dev vxlan0 | head -n 1 | cut -d ' ' -f 1)`,
  ]);
  assert.equal(broken.code, 0, broken.stderr);
  const ill = await doctor();
  assert.equal(ill.code, 1);
  assert.deepEqual(
    ill.findings.map(({ node, check }) => `${node} ${check}`),
    ['node-1 data-path', 'node-1 leases', 'node-1 leases'],
  );
  assert.match(ill.findings[0]?.items.join() ?? '', /missing: .*10\.244\.1\.0\/24/);
  assert.deepEqual(ill.findings[1]?.items, ['link stray of shop/gone:0b5e1c0e']);

  const [stray = '', ...more] = ill.findings[2]?.items ?? [];
  assert.match(stray, /^route by hd\w+ of default\/\S+ to 10\.244\.0\.250, which it does not have$/);
  assert.deepEqual(more, []);

  const mended = await doctor('--fix');
  assert.deepEqual([mended.code, mended.findings], [0, []]);
  assert.ok(
    mended.fixed.includes('node-1: removed link stray of shop/gone:0b5e1c0e'),
    mended.fixed.join('\n'),
  );
  assert.ok(
    mended.fixed.some((line) => line.startsWith('node-1: mended ')),
    mended.fixed.join('\n'),
  );
  assert.ok(mended.fixed.includes(`node-1: mended ${stray} (was changed)`), mended.fixed.join('\n'));
  assert.deepEqual(
    (await doctor('--fix')).fixed.filter((line) => line.startsWith('node')),
    [],
  );

  await t.test('a lost book of addresses is written again from what pods have, and no pod hears of it', () =>
    loseBook(cluster, async () => assert.deepEqual((await doctor()).findings, [])),
  );
});

async function loseBook(cluster: LocalCluster, isWell: () => Promise<void>): Promise<void> {
  const pods = async () =>
    (await listed<Pod>(cluster, 'pods')).map(({ metadata, spec, status }) => [
      metadata.uid,
      spec.nodeName,
      status.podIPs,
      status.containerStatuses.map(({ restartCount }) => restartCount),
    ]);
  const agent = async () => (await cluster.status()).processes.find(({ name }) => name === 'agent-node-1');
  const before = await pods();
  const killed = await agent();
  assert.ok(killed);
  const path = join(cluster.paths.node('node-1').state, 'ipam.json');
  const booked = () =>
    (JSON.parse(readFileSync(path, 'utf8')) as { allocations: { key: string }[] }).allocations;
  const known = booked();
  writeFileSync(path, '{"version":1,"alloc');
  process.kill(killed.pid, 'SIGKILL');
  await holds(async () => {
    const now = await agent();
    assert.ok(now && now.state === 'running' && now.pid !== killed.pid);
    const keys = (list: { key: string }[]) => list.map(({ key }) => key).toSorted();
    assert.deepEqual(keys(booked()), keys(known));
    await isWell();
  });
  assert.deepEqual(await pods(), before);
  assert.match(readFileSync(killed.log, 'utf8'), /booked what a pod has/);
}
