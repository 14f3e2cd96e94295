import assert from 'node:assert/strict';

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupTreePids, findCgroup2Mount } from '../../src/kernel/cgroup.ts';
import { kubectl } from '../kubectl.ts';
import { deepOnly } from '../scenarios/deep-only.ts';
import { type LocalCluster, root, upCluster } from '../scenarios/local-cluster.ts';
import { dialer, message, openStreams, spdy, webSocket } from '../scenarios/stream-client.ts';
import { inventory, within } from '../scenarios/stream-sessions.ts';

/** Kilobytes that a process may take more, for five clients that do not read. */
const MORE_KB = 48 << 10;
const skip = deepOnly('it looks on for 20 seconds');

/** What it says without end stands in its command line, so that it is found. */
const YES = 'never-enough';
/** Says as much as anybody takes, in its log and at a port. */
const CHATTY = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'chatty', annotations: { 'heddle.dev/runtime': 'process' } },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'main',
        image: 'none',
        command: ['sh', '-c', 'yes of-its-own | head -c 100000000; sleep 1000'],
      },
      {
        name: 'port',
        image: 'none',
        command: [
          'perl',
          '-MIO::Socket::INET',
          '-e',
          `my $all = 'download ' x 8192;
           my $listener = IO::Socket::INET->new(Listen => 16, LocalPort => 8080) or die $!;
           while (my $one = $listener->accept) {
             next if fork;
             1 while print $one $all;
           }`,
        ],
      },
    ],
  },
};

test('clients that do not read hold up what they would read, and cost the agent and the API server little', {
  skip,
}, async (t) => {
  const cluster = await upCluster(t, join(root, 'test/manifests/streaming'), '--nodes', '1');
  const { kubeconfig } = cluster.paths;
  const home = mkdtempSync(join(tmpdir(), 'heddle-kubectl-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const ask = async (input: string, ...args: string[]) => {
    const { code, stderr } = await kubectl(['-n', 'work', ...args], { kubeconfig, home, input });
    assert.equal(code, 0, stderr);
  };
  await ask(JSON.stringify(CHATTY), 'apply', '-f', '-');
  await ask('', 'wait', '--for=condition=Ready', 'pod/chatty', '--timeout=60s');
  const dial = await dialer(kubeconfig);
  const pod = '/namespaces/work/pods/chatty';
  const yes = `${pod}/exec?container=main&stdout=1&command=yes&command=${YES}`;
  const before = await inventory(cluster);

  const spdyExec = await dial(yes, spdy('v4.channel.k8s.io'));
  openStreams(spdyExec, [{ streamtype: 'error' }, { streamtype: 'stdout' }]);
  const forward = await dial(`${pod}/portforward`, spdy('portforward.k8s.io'));
  const port = { port: '8080', requestid: '0' };
  openStreams(forward, [
    { streamtype: 'error', ...port },
    { streamtype: 'data', ...port },
  ]);
  const channels = await dial(`${pod}/portforward?ports=8080`, webSocket('v4.channel.k8s.io'));
  channels.send(message('\0'));
  const all = [
    { client: await dial(yes, webSocket('v5.channel.k8s.io')), says: YES },
    { client: spdyExec, says: YES },
    { client: await dial(`${pod}/log?container=main&follow=true`, {}), says: 'of-its-own' },
    { client: forward, says: 'download' },
    { client: channels, says: 'download' },
  ];
  await Promise.all(
    all.map(async ({ client, says }) => {
      await within(says, client.until(says));
      client.stall();
    }),
  );

  const most: Record<string, number> = {};
  for (const end = Date.now() + 20_000; Date.now() < end; await sleep(250))
    for (const [name, kb] of Object.entries((await inventory(cluster)).rss))
      most[name] = Math.max(most[name] ?? 0, kb);
  t.diagnostic(`RSS in kB ${JSON.stringify(before.rss)}, at most ${JSON.stringify(most)}`);
  for (const [name, kb] of Object.entries(most))
    assert.ok(kb < before.rss[name]! + MORE_KB, `${name} grew from ${before.rss[name]} to ${kb} kB`);
  const said = written(cluster);
  assert.equal(said.length, 2);
  await sleep(2000);
  assert.deepEqual(written(cluster), said, 'they go on writing');
  for (const { client } of all) client.reset();
});

/** Bytes that each of the programs without end has written. */
function written(cluster: LocalCluster): string[] {
  const pids = cgroupTreePids(join(findCgroup2Mount() ?? '', cluster.paths.cgroup));
  return pids
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `yes\0${YES}\0`)
    .map((pid) => `${pid} ${/wchar: \d+/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[0]}`);
}
