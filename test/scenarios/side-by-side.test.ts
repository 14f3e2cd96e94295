/** Two clusters of one machine, picked by name, with the same ranges of addresses. */
import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { clusterDir } from '../../src/cli/flags.ts';
import { clusterPaths } from '../../src/cluster/paths.ts';
import { takeInventory } from '../../src/cluster/snapshot.ts';
import { assertAsBefore } from './as-before.ts';
import { deepOnly } from './deep-only.ts';
import { execute, root, type Status } from './local-cluster.ts';
import { clusterFiles, podsOf, reaches } from './zones.ts';

const skip = deepOnly('up-down.test.ts holds one cluster apart from the machine');

function named(t: TestContext, name: string) {
  const dataDir = clusterDir(name);
  const heddle = (verb: string, ...args: string[]) =>
    execute(join(root, 'heddle'), [verb, '--cluster', name, ...args]);
  t.after(async () => {
    await heddle('down');
    rmSync(dataDir, { recursive: true, force: true });
  });
  const must = async (...args: string[]) => {
    const [verb = '', ...rest] = args;
    const { code, stdout, stderr } = await heddle(verb, ...rest);
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const status = async () => JSON.parse(await must('status', '-o', 'json')) as Status;
  return { dataDir, paths: clusterPaths(dataDir), heddle, must, status };
}

test('two clusters with the same addresses serve side by side; the end of one leaves the other untouched', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const before = takeInventory();
  const [a, b] = [named(t, `heddle-test-${process.pid}-a`), named(t, `heddle-test-${process.pid}-b`)];
  const zones = { n1: 'a', n2: 'b' };
  await a.must(
    'up',
    '--api-port',
    '0',
    '-f',
    clusterFiles(t, 'left', zones).write('latency: 2ms, mtu: 1400'),
  );
  await b.must('up', '--api-port', '0', '-f', clusterFiles(t, 'right', zones).write('latency: 4ms'));
  const [ofA, ofB] = [await podsOf(a.must), await podsOf(b.must)];
  const addresses = (pods: typeof ofA) => [...pods.values()].map(({ status }) => status.podIPs);
  assert.deepEqual(addresses(ofA), addresses(ofB));
  const [farA, farB] = [ofA.get('n2'), ofB.get('n2')];
  assert.ok(farA && farB);
  await reaches(a.must, 'n1', farA);
  await reaches(b.must, 'n1', farB);
  const mtu = async ({ must }: typeof a) =>
    /mtu (\d+)/.exec(await must('exec', 'on-n1', '--', 'ip', '-o', 'link', 'show', 'eth0'))?.[1];
  assert.deepEqual([await mtu(a), await mtu(b)], ['1350', '1450'], 'each has its own links');

  const running = async () =>
    (await b.status()).processes.map(({ name, pid, restarts }) => [name, pid, restarts]);
  const untouched = await running();
  await a.must('down');
  await assertAsBefore(before, a);
  assert.equal(existsSync(a.dataDir), false);
  assert.deepEqual(await running(), untouched);
  await reaches(b.must, 'n1', farB);
  await b.must('down');
  await assertAsBefore(before, b);
});
