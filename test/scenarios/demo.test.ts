import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Report } from '../../src/demo/report.ts';
import { schemaViolations } from '../schema.ts';
import { deepOnly, otherDatapath } from './deep-only.ts';
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

/** The one port of payments/gateway that anyone may ask, and only shop/checkout. */
const CHARGE = 8443;

/** By hand, in the kernel of each node: all elements of the policy tables that speak of that port. */
const tampers = {
  nftables: ({ paths }: LocalCluster, node: string) =>
    [
      `nft() { nsenter --net=${paths.netns(node)} nft "$@"; }`,
      `nft list table inet heddle | awk '
      /map (ports|spans)-/ { map = $2 }
      {
        while (match($0, /0x[0-9a-f]+ \\. [a-z]+ \\. [0-9-]+ : goto rule-/)) {
          element = substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH)
          sub(/ : goto rule-.*/, "", element); port = element; sub(/.* /, "", port)
          # nft 1.0.6 finds an element of one port in a map of ranges only when it is written as a range.
          if (port == ${CHARGE}) print map " { " element (map ~ /^ports/ ? "" : "-" port) " }"
        }
      }' | while read found; do nft delete element inet heddle "$found" && echo "$found" || exit 9; done`,
    ].join('\n'),
  ebpf: ({ paths }: LocalCluster, node: string) =>
    [
      `map=${paths.node(node).bpf}/maps/policy_entries`,
      `bpftool -j map dump pinned "$map" | ${process.execPath} -e '
        for (const { key, formatted } of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
          const { protocol, port } = formatted.key;
          if (protocol === 6 && ((port & 255) << 8 | port >> 8) === ${CHARGE})
            console.log(key.join(" ").replaceAll("0x", ""));
        }' | while read key; do bpftool map delete pinned "$map" key hex $key && echo "$key" || exit 9; done`,
    ].join('\n'),
};

for (const [datapath, tamper] of Object.entries(tampers))
  test(`the demo can fail: rules of a port taken out of the kernels are told by the pairs they concerned, ${datapath}`, {
    ...minutes(3),
    skip: otherDatapath(datapath),
  }, async (t) => {
    const cluster = await localCluster(t);
    const byHand = ['node-1', 'node-2'].map((node) => tamper(cluster, node)).join('\n');
    const demo = await runDemo(cluster, '--datapath', datapath, '--before-probes', byHand);
    assert.equal(demo.code, 1, demo.stderr);
    assert.notEqual(demo.stdout, '', demo.stderr);
    const report = JSON.parse(demo.stdout) as Report;
    const wrong = report.attempts.filter(({ problems }) => problems.length > 0);
    assert.equal(report.mismatches, wrong.length);
    assert.deepEqual(
      new Set(wrong.map(({ from, to }) => `${from} ${to}`)),
      new Set(['shop/checkout payments/gateway']),
    );
    for (const { problems } of wrong)
      assert.match(problems.join(), /the policies say allowed, the network says denied/);
    assert.ok(demo.stderr.includes('shop/checkout'), demo.stderr);
    assert.ok(demo.stderr.includes('payments/gateway'), demo.stderr);
  });

test('a demo whose reader goes away takes its cluster down, and keeps nothing', {
  ...minutes(3),
  skip: deepOnly('up-down.test.ts ends clusters that lose who held them'),
}, async (t) => {
  const cluster = await localCluster(t);
  const piped = `${join(root, 'heddle')} demo --once --data-dir ${cluster.dataDir} --api-port ${cluster.apiPort}`;
  const { stderr } = await execute('sh', ['-c', `${piped} --max-attempts 1 | true`]);
  assert.match(stderr, /asking the supervisor/);
  assert.equal(existsSync(cluster.paths.config), false, stderr);
  assert.equal(existsSync(cluster.paths.runDir), false, stderr);
});

test('on a cluster that is up the demo probes what runs there, and leaves it up', minutes(3), async (t) => {
  const cluster = await upCluster(t, join(root, 'test/manifests/echo'), '--nodes', '3');
  const demo = await cluster.heddle('demo', '--once', '-o', 'json');
  assert.equal(demo.code, 0, demo.stderr);
  const report = JSON.parse(demo.stdout) as Report;
  assert.deepEqual([...new Set(report.attempts.map(({ to }) => to))].toSorted(), ['default/server']);
  assert.match(demo.stderr, /stays up/);
  assert.equal((await cluster.status())['state'], 'running');
});
