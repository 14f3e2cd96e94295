/** A cluster goes over from one way between nodes to another, under traffic that notices whatever is lost. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Encapsulation, overheadOf } from '../../src/datapath/encapsulation.ts';
import { openNetns, closeNetns } from '../../src/kernel/netns.ts';
import { openRoute } from '../../src/kernel/route.ts';
import { probeTunnels } from '../../src/kernel/tunnel-features.ts';
import { type LocalCluster, root } from './local-cluster.ts';

interface Pod {
  readonly metadata: { readonly uid: string };
  readonly status: { readonly podIPs: readonly { readonly ip: string }[] };
}

interface Result {
  readonly way: string;
  readonly sent: number;
  readonly lost: number;
  readonly error: string;
}

const PORT = 9000;
/** Of IPv6 and UDP. */
const HEADERS = 48;
const UNDERLAY_MTU = 1500;

async function start(t: TestContext, netns: string, args: readonly string[]) {
  const child: ChildProcess = spawn(
    'nsenter',
    [
      `--net=${netns}`,
      join(root, 'node_modules/.bin/node'),
      join(root, 'test/scenarios/steady-traffic.ts'),
      ...args,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  while (!text.includes('started')) {
    assert.equal(child.exitCode, null, text);
    await sleep(20);
  }
  return async (): Promise<string> => {
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    await closed;
    return text.slice(text.indexOf('\n') + 1);
  };
}

function mtuOfPod(netns: string): number | undefined {
  const ns = openNetns(netns);
  try {
    const route = openRoute(ns);
    try {
      return route.link('eth0')?.mtu;
    } finally {
      route.close();
    }
  } finally {
    closeNetns(ns);
  }
}

/** @param pods on different nodes, that may speak to each other @param from what the cluster has now, and ends with */
export async function routeRounds(
  t: TestContext,
  cluster: LocalCluster,
  pods: readonly [Pod, Pod],
  from: Encapsulation,
): Promise<void> {
  const [client, server] = pods.map(({ metadata }) => cluster.paths.netns(`pod-${metadata.uid}`));
  assert.ok(client !== undefined && server !== undefined);
  const features = probeTunnels();
  const ways = (['native', 'vxlan', 'geneve', 'gre'] as const).filter(
    (way) => way !== from && (way === 'native' || features[way].ok),
  );
  const hosts = pods[1].status.podIPs.map(({ ip }) => ip);
  // Nodes have addresses of the families that pods have.
  const family = hosts.every((host) => host.includes(':')) ? 6 : 4;
  const largest = UNDERLAY_MTU - Math.max(...[from, ...ways].map((way) => overheadOf(way, family)));
  const stopServer = await start(t, server, ['serve', String(PORT)]);
  const stop = await start(t, client, ['send', String(PORT), String(largest - HEADERS), ...hosts]);
  for (const to of [...ways, from]) {
    await sleep(300);
    const done = JSON.parse(await cluster.must('datapath', 'route', to, '-o', 'json')) as {
      complete: boolean;
      nodes: { sends: string; accepts: string[]; mtu: number; limit: number | null }[];
    };
    const mtu = UNDERLAY_MTU - overheadOf(to, family);
    assert.ok(done.complete);
    for (const { sends, accepts, mtu: now, limit } of done.nodes)
      assert.deepEqual([sends, accepts, now, limit], [to, [to], mtu, null]);
    assert.deepEqual([client, server].map(mtuOfPod), [mtu, mtu]);
    await cluster.must('datapath', 'verify');
    const status = JSON.parse(await cluster.must('status', '-o', 'json')) as {
      routing: { mode: string; tunnel: string | null; mtu: number; changing: string[] };
    };
    const { mode, tunnel, mtu: told, changing } = status.routing;
    assert.deepEqual(
      [mode, tunnel, told, changing],
      to === 'native' ? ['native', null, mtu, []] : ['overlay', to, mtu, []],
    );
  }
  await sleep(300);
  const results = JSON.parse(await stop()) as Result[];
  for (const { way, sent, lost, error } of results) {
    assert.deepEqual({ way, lost, error }, { way, lost: 0, error: '' });
    assert.ok(sent > 20, `${way}: ${sent}`);
  }
  assert.equal(results.length, 2 * hosts.length);
  await stopServer();
}
