/** `heddle doctor` on a cluster that is well, on one that somebody broke by hand, and after it mended that. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { schemaViolations } from '../schema.ts';
import { execute, root, upCluster } from './local-cluster.ts';

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
     in_node route del $(in_node route show proto 72 dev vxlan0 | head -n 1 | cut -d ' ' -f 1)`,
  ]);
  assert.equal(broken.code, 0, broken.stderr);
  const ill = await doctor();
  assert.equal(ill.code, 1);
  assert.deepEqual(
    ill.findings.map(({ node, check }) => `${node} ${check}`),
    ['node-1 data-path', 'node-1 leases'],
  );
  assert.match(ill.findings[0]?.items.join() ?? '', /missing: .*10\.244\.1\.0\/24/);
  assert.deepEqual(ill.findings[1]?.items, ['link stray of shop/gone:0b5e1c0e']);

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
  assert.deepEqual(
    (await doctor('--fix')).fixed.filter((line) => line.startsWith('node')),
    [],
  );
});
