import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { difference, type Inventory, takeInventory } from '../../src/cluster/snapshot.ts';
import { cgroupPath } from '../../src/cluster/teardown.ts';
import { cgroupTreePids } from '../../src/kernel/cgroup.ts';
import { schemaViolations } from '../schema.ts';
import { assertAsBefore, concerns } from './as-before.ts';
import { type LocalCluster, localCluster, root } from './local-cluster.ts';
import { freePort } from '../../src/cluster/ports.ts';

const manifests = join(root, 'test/manifests/echo');

/** What changed on the machine itself while a cluster runs. */
const touched = (before: Inventory, cluster: LocalCluster): string[] =>
  difference(before, takeInventory(), concerns(cluster)).filter(
    (line) => !/^. (mounts|cgroups|sockets|processes):/.test(line),
  );

function foreground(
  t: TestContext,
  cluster: LocalCluster,
  ...args: string[]
): { child: ChildProcess; said(text: string): Promise<void>; output(): string } {
  const child = spawn(
    join(root, 'heddle'),
    ['up', '--data-dir', cluster.dataDir, '--api-port', String(cluster.apiPort), ...args],
    { stdio: ['ignore', 'pipe', 'pipe'], cwd: root },
  );
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  const add = (chunk: Buffer) => {
    text += chunk.toString('utf8');
  };
  child.stdout.on('data', add);
  child.stderr.on('data', add);
  return {
    child,
    output: () => text,
    async said(wanted) {
      while (!text.includes(wanted)) {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${text}`);
        await sleep(20);
      }
    },
  };
}

const exitOf = async (child: ChildProcess): Promise<number | null> => {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode;
};

const up = (cluster: LocalCluster, ...args: string[]) =>
  cluster.must('up', '--detach', '--stand-in', '--api-port', String(cluster.apiPort), ...args);

/** For what is the same with more of them. */
const oneNode = ['--nodes', '1'] as const;

test('up and down leave the machine as it was, and touch nothing of it meanwhile', async (t) => {
  const cluster = await localCluster(t);
  const before = takeInventory();
  await up(cluster, '-f', manifests);
  assert.deepEqual(touched(before, cluster), []);
  const during = difference(before, takeInventory(), concerns(cluster));
  for (const part of ['mounts', 'cgroups', 'sockets', 'processes'])
    assert.ok(
      during.some((line) => line.startsWith(`+ ${part}:`)),
      `the inventory sees ${part}`,
    );
  assert.equal(statSync(cluster.paths.kubeconfig).mode & 0o777, 0o600);
  assert.equal(statSync(cluster.dataDir).mode & 0o777, 0o700);
  await cluster.must('down');
  await assertAsBefore(before, cluster);
  assert.equal(existsSync(cluster.dataDir), false);
  assert.match((await cluster.heddle('down')).stderr, /there is no cluster/);
});

for (const [who, pick] of [
  ['the supervisor', (pids: number[], supervisor: number) => pids.filter((pid) => pid === supervisor)],
  [
    'everything but the supervisor',
    (pids: number[], supervisor: number) => pids.filter((pid) => pid !== supervisor),
  ],
  ['everything at once', (pids: number[]) => pids],
] as const)
  test(`after kill -9 of ${who}, down removes the rest`, async (t) => {
    const cluster = await localCluster(t);
    const before = takeInventory();
    await up(cluster, ...oneNode, '-f', manifests);
    const supervisor = Number(JSON.parse(readFileSync(cluster.paths.lock, 'utf8')).pid);
    const pids = cgroupTreePids(cgroupPath(cluster.paths) ?? '');
    assert.ok(pids.includes(supervisor) && pids.length >= 5);
    for (const pid of pick(pids, supervisor)) process.kill(pid, 'SIGKILL');
    await cluster.must('down');
    await assertAsBefore(before, cluster);
  });

test('up after everything was killed cleans first, and continues with what was stored', async (t) => {
  const cluster = await localCluster(t);
  const before = takeInventory();
  await up(cluster, ...oneNode, '-f', manifests);
  for (const pid of cgroupTreePids(cgroupPath(cluster.paths) ?? '')) process.kill(pid, 'SIGKILL');
  const status = await cluster.heddle('status', '-o', 'json');
  assert.equal(JSON.parse(status.stdout).state, 'unsupervised');
  const again = await cluster.heddle('up', '--detach', '--timeout', '300s');
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /left behind/);
  assert.match(await cluster.must('get', 'deployments', '-A'), /server/);
  await cluster.must('down');
  await assertAsBefore(before, cluster);
});

test('down --keep keeps the objects for the next up, which must not ask for other ranges; status is what its schema says', async (t) => {
  const cluster = await localCluster(t);
  await up(cluster, '--publish', `web:80:${freePort()}`, '-f', manifests);
  assert.deepEqual(schemaViolations('status', await cluster.status()), []);
  await cluster.must('down', '--keep');
  const down = await cluster.heddle('status', '-o', 'json');
  assert.equal(down.code, 3);
  assert.deepEqual(schemaViolations('status', JSON.parse(down.stdout)), []);
  assert.equal(existsSync(cluster.paths.runDir), false);
  const other = await cluster.heddle('up', '--detach', '--pod-cidr', '10.50.0.0/16');
  assert.equal(other.code, 2);
  assert.match(other.stderr, /ClusterDiffers/);
  const fewer = await cluster.heddle('up', '--detach', '--nodes', '1');
  assert.equal(fewer.code, 2);
  assert.match(fewer.stderr, /holds a cluster of 2 nodes, not 1 \[ClusterDiffers\]/);
  const again = await cluster.heddle('up', '--detach', '--api-port', String(cluster.apiPort));
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /pods: (\d+) of \1 pods Ready/);
  assert.match(await cluster.must('get', 'deployments', '-A'), /server/);
});

test('a second up says who has the cluster; with manifests it applies them', async (t) => {
  const cluster = await localCluster(t);
  const two = await Promise.all(
    [1, 2].map(() =>
      cluster.heddle('up', '--detach', '--stand-in', '--api-port', String(cluster.apiPort), ...oneNode),
    ),
  );
  const lost = two.find(({ code }) => code !== 0);
  assert.deepEqual(
    two.map(({ code }) => code).toSorted((a, b) => a - b),
    [0, 1],
    two.map(({ stderr }) => stderr).join('\n'),
  );
  assert.match(lost?.stderr ?? '', /in use by supervisor \(pid \d+, since .*ClusterBusy/);
  const third = await cluster.heddle('up', '--detach');
  assert.equal(third.code, 1);
  assert.match(third.stderr, /ClusterBusy/);
  const applied = await cluster.heddle('up', '-f', manifests);
  assert.equal(applied.code, 0, applied.stderr);
  assert.match(applied.stderr, /up already/);
});

test('Ctrl-C takes a cluster in the foreground down', async (t) => {
  const cluster = await localCluster(t);
  const before = takeInventory();
  const { child, said, output } = foreground(t, cluster, ...oneNode);
  await said('Ctrl-C takes the cluster down');
  child.kill('SIGINT');
  assert.equal(await exitOf(child), 0, output());
  await assertAsBefore(before, cluster);
  assert.equal(existsSync(cluster.dataDir), false);
});

test('Ctrl-C while it comes up leaves nothing', async (t) => {
  for (const moment of ['keys and certificates', 'controllers and nodes']) {
    const cluster = await localCluster(t);
    const before = takeInventory();
    const { child, said } = foreground(t, cluster, ...oneNode);
    await said(moment);
    child.kill('SIGINT');
    await exitOf(child);
    await assertAsBefore(before, cluster);
    assert.equal(existsSync(cluster.paths.config), false);
  }
});

test('a cluster in the foreground ends with whoever held it', async (t) => {
  const cluster = await localCluster(t);
  const before = takeInventory();
  const { child, said } = foreground(t, cluster, ...oneNode);
  await said('Ctrl-C takes the cluster down');
  child.kill('SIGKILL');
  await assertAsBefore(before, cluster);
  assert.equal(existsSync(cluster.dataDir), false);
});

test('down from elsewhere ends a cluster in the foreground well', async (t) => {
  const cluster = await localCluster(t);
  const { child, said, output } = foreground(t, cluster, ...oneNode);
  await said('Ctrl-C takes the cluster down');
  await cluster.must('down');
  assert.equal(await exitOf(child), 0, output());
});

/** Refused before anything is made: `code` is the exit code, `words` what the error must say. */
const refused: readonly (readonly [what: string, args: readonly string[], code: number, words: RegExp])[] = [
  ['no nodes', ['--nodes', '0'], 2, /--nodes "0": expected a whole number from 1 to 250 \[BadFlag\]/],
  ['words for nodes', ['--nodes', 'many'], 2, /--nodes "many"/],
  ['an unknown flag', ['--nods', '2'], 2, /unknown option '--nods'/],
  ['a wrong range', ['--pod-cidr', '10.0.0.0/33'], 2, /--pod-cidr: "10\.0\.0\.0\/33".*BadCidr/],
  [
    'overlapping ranges',
    ['--service-cidr', '10.244.128.0/20'],
    2,
    /--pod-cidr 10\.244\.0\.0\/16 overlaps --service-cidr 10\.244\.128\.0\/20/,
  ],
  ['a range without room', ['--nodes', '9', '--pod-cidr', '10.9.0.0/21'], 2, /no room for 9 nodes.*holds 8/],
  ['a port that is none', ['--publish', 'web:http'], 2, /--publish "web:http": expected/],
  ['a time that is none', ['--timeout', 'soon'], 2, /--timeout "soon"/],
  [
    'pods that nothing would run',
    ['-f', manifests],
    2,
    /echo\.yaml:\d+: nothing would run the pods.*NoRuntime.*--stand-in/s,
  ],
  ['a missing file', ['-f', '/nonexistent/x.yaml'], 2, /\/nonexistent\/x\.yaml.*BadManifest/s],
];

for (const [what, args, code, words] of refused)
  test(`${what}: refused, and nothing is made`, async (t) => {
    const cluster = await localCluster(t);
    const before = takeInventory();
    const outcome = await cluster.heddle('up', '--detach', '--api-port', String(cluster.apiPort), ...args);
    assert.equal(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr, words);
    assert.deepEqual(difference(before, takeInventory(), concerns(cluster)), []);
    assert.equal(existsSync(cluster.paths.config), false);
  });

for (const [what, text, words] of [
  ['broken YAML', 'kind: [', /bad\.yaml:\d+.*BadManifest/s],
  [
    'an unknown field',
    'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  prots: []\n',
    /bad\.yaml:5.*prots.*ports/s,
  ],
] as const)
  test(`${what}: refused with its line, and nothing is made`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-bad-'));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'bad.yaml'), text);
    const cluster = await localCluster(t);
    const outcome = await cluster.heddle(
      'up',
      '--detach',
      '--api-port',
      String(cluster.apiPort),
      '-f',
      folder,
    );
    assert.equal(outcome.code, 2, outcome.stderr);
    assert.match(outcome.stderr, words);
    assert.equal(existsSync(cluster.paths.runDir) || existsSync(cluster.paths.config), false);
  });

test('a port in use: refused, and nothing is made', async (t) => {
  const cluster = await localCluster(t);
  const server: Server = createServer().listen(cluster.apiPort, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const api = await cluster.heddle('up', '--detach', '--api-port', String(cluster.apiPort));
  assert.equal(api.code, 1, api.stderr);
  assert.match(
    api.stderr,
    new RegExp(
      `port ${cluster.apiPort} of 127\\.0\\.0\\.1 is in use by .* \\(pid ${process.pid}\\).*PortInUse`,
    ),
  );
  const published = await cluster.heddle(
    'up',
    '--detach',
    '--api-port',
    String(freePort()),
    '--publish',
    `web:80:${cluster.apiPort}`,
  );
  assert.match(published.stderr, /PortInUse/);
  assert.equal(existsSync(cluster.paths.runDir) || existsSync(cluster.paths.config), false);
});

test('a folder that is not a cluster is neither used nor removed', async (t) => {
  const cluster = await localCluster(t);
  writeFileSync(join(cluster.dataDir, 'thesis.tex'), 'x');
  const outcome = await cluster.heddle('up', '--detach');
  assert.match(outcome.stderr, /thesis\.tex.*DataDirForeign/s);
  await cluster.must('down');
  assert.equal(readFileSync(join(cluster.dataDir, 'thesis.tex'), 'utf8'), 'x');
});

test('without root: refused by name', async (t) => {
  const cluster = await localCluster(t);
  const child = spawn(
    'setpriv',
    [
      '--reuid',
      '65534',
      '--clear-groups',
      // The checkout may be in a folder that only root may enter, such as /root.
      '--inh-caps=+dac_read_search',
      '--ambient-caps=+dac_read_search',
      '--',
      join(root, 'node_modules/.bin/node'),
      join(root, 'src/app/heddle.ts'),
      'up',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  await once(child, 'close');
  assert.equal(child.exitCode, 2, text);
  assert.match(text, /starting a cluster needs root.*NotRoot/s);
  assert.equal(existsSync(cluster.paths.runDir), false);
});

test('up after kill -9 of the supervisor alone removes the rest, which still holds the port', async (t) => {
  const cluster = await localCluster(t);
  const before = takeInventory();
  await up(cluster, ...oneNode);
  process.kill(Number(JSON.parse(readFileSync(cluster.paths.lock, 'utf8')).pid), 'SIGKILL');
  const again = await cluster.heddle('up', '--detach');
  assert.equal(again.code, 0, again.stderr);
  assert.equal((await cluster.status())['state'], 'running');
  await cluster.must('down');
  await assertAsBefore(before, cluster);
});
