import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Report } from '../../src/demo/report.ts';
import { schemaViolations } from '../schema.ts';
import { execute, type LocalCluster, localCluster, root, upCluster } from './local-cluster.ts';

const minutes = (n: number) => ({ timeout: n * 60_000 });

const runDemo = (cluster: LocalCluster, ...args: string[]) =>
  cluster.heddle('demo', '--once', '--api-port', String(cluster.apiPort), '-o', 'json', ...args);

test(
  'the demo ends with 0 when every verdict is what the policies say, and leaves nothing',
  minutes(3),
  async (t) => {
    const cluster = await localCluster(t);
    const { paths } = cluster;
    const demo = await runDemo(cluster);
    assert.equal(demo.code, 0, demo.stderr);
    const report = JSON.parse(demo.stdout) as Report;
    assert.deepEqual(schemaViolations('demo', report), []);
    assert.equal(report.mismatches, 0);
    assert.ok(report.allowed > 50, `${report.allowed} allowed`);
    assert.ok(report.denied > 50, `${report.denied} denied`);
    for (const family of [4, 6] as const)
      for (const observed of ['allowed', 'denied'] as const)
        assert.ok(
          report.attempts.some((attempt) => attempt.family === family && attempt.observed === observed),
          `no IPv${family} connection was ${observed}`,
        );
    assert.ok(report.attempts.some(({ by }) => by.includes('default deny')));
    assert.ok(report.attempts.some(({ by }) => by.startsWith('NetworkPolicy ')));
    const left = await execute('sh', [
      '-c',
      `ls -d ${paths.runDir} /sys/fs/cgroup/${paths.cgroup} /sys/fs/cgroup/*/${paths.cgroup} 2>/dev/null`,
    ]);
    assert.equal(left.stdout, '');
  },
);

/** By hand, in the kernel of one node: one element of a policy table, that is, one rule for one peer. */
const tampers = {
  nftables: ({ paths }: LocalCluster) =>
    [
      `nft() { nsenter --net=${paths.netns('node-1')} nft "$@"; }`,
      `found=$(nft list table inet heddle | awk '
      /map (ports|spans)-/ { map = $2 }
      match($0, /0x[0-9a-f]+ \\. [a-z]+ \\. [0-9-]+ : goto rule-/) {
        sub(/ : goto rule-.*/, ""); sub(/.*0x/, "0x"); port = $0; sub(/.* /, "", port)
        # nft 1.0.6 finds an element of one port in a map of ranges only when it is written as a range.
        print map " { " $0 (port ~ /-/ || map ~ /^ports/ ? "" : "-" port) " }"; exit
      }')`,
      'test -n "$found" && nft delete element inet heddle "$found"',
    ].join('\n'),
  // One of TCP, in both copies: the last byte says which.
  ebpf: ({ paths }: LocalCluster) =>
    [
      `map=${paths.node('node-1').bpf}/maps/policy_entries`,
      `key=$(bpftool -j map dump pinned "$map" | ${process.execPath} -e '
        const rows = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const row = rows.find(({ formatted }) => formatted.key.protocol === 6);
        console.log(row.key.slice(0, 11).join(" ").replaceAll("0x", ""));')`,
      'for copy in 00 01; do bpftool map delete pinned "$map" key hex $key $copy || exit 9; done',
    ].join('\n'),
};

for (const [datapath, tamper] of Object.entries(tampers))
  test(
    `the demo can fail: a rule taken out of one kernel is told by the pairs it concerned, ${datapath}`,
    minutes(3),
    async (t) => {
      const cluster = await localCluster(t);
      const demo = await runDemo(cluster, '--datapath', datapath, '--before-probes', tamper(cluster));
      assert.equal(demo.code, 1, demo.stderr);
      assert.notEqual(demo.stdout, '', demo.stderr);
      const report = JSON.parse(demo.stdout) as Report;
      assert.ok(report.mismatches > 0);
      const wrong = report.attempts.filter(({ problems }) => problems.length > 0);
      assert.ok(
        wrong.every(({ problems }) =>
          /the policies say allowed, the network says denied/.test(problems.join()),
        ),
      );
      const [first] = wrong;
      assert.ok(first && demo.stderr.includes(first.from) && demo.stderr.includes(first.to), demo.stderr);
    },
  );

test('on a cluster that is up the demo probes what runs there, and leaves it up', minutes(3), async (t) => {
  const cluster = await upCluster(t, join(root, 'test/manifests/echo'), '--nodes', '3');
  const demo = await cluster.heddle('demo', '--once', '-o', 'json');
  assert.equal(demo.code, 0, demo.stderr);
  const report = JSON.parse(demo.stdout) as Report;
  assert.deepEqual([...new Set(report.attempts.map(({ to }) => to))].toSorted(), ['default/server']);
  assert.match(demo.stderr, /stays up/);
  assert.equal((await cluster.status())['state'], 'running');
});
