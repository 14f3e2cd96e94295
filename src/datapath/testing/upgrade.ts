/**
 * A change of the programs under traffic: all that numbered datagrams, connections and intruders see while nodes go
 * over to a build with other layouts of maps, and back.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findCgroup2Mount } from '../../kernel/cgroup.ts';
import type { Backend } from '../backend.ts';
import type { Cluster, OpenBackend } from './cluster.ts';
import { createCluster, serviceAddresses } from './cluster.ts';
import { type OpenedEbpf, openEbpfWith } from './ebpf.ts';
import type { LabPod } from './lab.ts';
import { type Dialled, type Heard, type Knocked, numbered, type Sent, type Talked } from './numbered.ts';
import { buildOtherLayout, OTHER_MAPS } from './other-layout.ts';

export interface UpgradeLoad {
  /** Datagrams a second, of all flows. */
  readonly rate: number;
  readonly connections: number;
  /** There and back again, so often. */
  readonly rounds: number;
  /** Milliseconds between changes. */
  readonly pause: number;
  /** Milliseconds between the loading of programs and their taking over. */
  readonly learning: number;
}

const PORT = 7000;
const SERVICE_PORT = 80;

/** Of this process before any backend opens: outside of the cgroup whose sockets are translated. */
export function homeCgroup(): string {
  const path = /^0::(.*)$/m.exec(fs.readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  return join(findCgroup2Mount() ?? '', path);
}

/** The service of pods' datagrams and connections, by the pod behind it. */
const SERVICES: Readonly<Record<string, number>> = { b: 1, c: 2 };

const ingressFrom = (...apps: string[]) => ({
  podSelector: {},
  policyTypes: ['Ingress' as const],
  ingress: [{ from: apps.map((app) => ({ podSelector: { matchLabels: { app } } })) }],
});

/**
 * `a` speaks to `b`, its neighbour, and `c` on the other node, directly and through services that its sockets know;
 * `e` through services that only tc translates; `d` may not.
 */
export async function upgradeCluster<B extends Backend>(
  t: TestContext,
  open: OpenBackend<B>,
): Promise<Cluster<B>> {
  const cluster = await createCluster(t, open, [['a', 'b', 'd', 'e'], ['c']]);
  for (const [name, index] of Object.entries(SERVICES))
    cluster.setService(
      name,
      index,
      (['TCP', 'UDP'] as const).map((protocol) => ({ port: SERVICE_PORT, target: PORT, protocol })),
      [cluster.pod(name)],
    );
  await cluster.setPolicies({ guarded: ingressFrom('a', 'e') });
  return cluster;
}

interface Way {
  readonly to: LabPod;
  readonly address: string;
  readonly port: number;
}

const waysTo = (to: LabPod): { direct: Way[]; service: Way[] } => ({
  direct: to.addresses.map((address) => ({ to, address, port: PORT })),
  service: serviceAddresses(SERVICES[to.name] ?? 0).map((address) => ({ to, address, port: SERVICE_PORT })),
});

const idOf = (pod: LabPod): number => pod.name.charCodeAt(0);

export interface Traffic {
  /** Ends all of it and asserts that nothing was lost, misdelivered or let through. */
  finish(): Promise<string>;
}

/** Starts it. Returns when every connection is open and every flow is going. */
export async function startTraffic(
  t: TestContext,
  cluster: Cluster,
  home: string,
  { rate, connections }: Pick<UpgradeLoad, 'rate' | 'connections'>,
): Promise<Traffic> {
  const start = await numbered(t);
  const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map(cluster.pod) as [
    LabPod,
    LabPod,
    LabPod,
    LabPod,
    LabPod,
  ];
  const hearers = await Promise.all([b, c].map(async (pod) => ({ pod, process: await hear(pod) })));
  const echoes = await Promise.all([b, c].map(({ ns }) => start(['echo', PORT], { netns: ns })));
  const bySockets = [b, c].flatMap((pod) => [...waysTo(pod).direct, ...waysTo(pod).service]);
  const byTc = [b, c].flatMap((pod) => waysTo(pod).service);
  const share = Math.ceil(connections / 4);
  const talkers = [await talk(bySockets, connections - share), await talk(byTc, share, home)];
  const senders = [
    await send(a, bySockets, (rate * 2) / 3, 0),
    await send(e, byTc, rate / 3, bySockets.length, home),
  ];
  const first = bySockets.length + byTc.length;
  const intruders = [await send(d, bySockets, 200, first), await send(d, byTc, 100, first * 2, home)];
  const dialling = await Promise.all(
    [undefined, home].map((cgroup) =>
      start(['dial', 4, ...(cgroup ? byTc : bySockets).map(text)], {
        netns: cgroup ? e.ns : a.ns,
        ...(cgroup && { cgroup }),
      }),
    ),
  );
  const knocking = await Promise.all(
    [undefined, home].map((cgroup) =>
      start(['knock', 5, ...(cgroup ? byTc : bySockets).map(text)], {
        netns: d.ns,
        ...(cgroup && { cgroup }),
      }),
    ),
  );

  function hear(pod: LabPod) {
    return start(['hear', idOf(pod), PORT], { netns: pod.ns });
  }

  function text({ address, port }: Way): string {
    return `${address},${port}`;
  }

  function talk(ways: readonly Way[], count: number, cgroup?: string) {
    return start(['talk', count, 250, ...ways.map(text)], {
      netns: cgroup ? e.ns : a.ns,
      ...(cgroup && { cgroup }),
    });
  }

  function send(from: LabPod, ways: readonly Way[], each: number, flow: number, cgroup?: string) {
    const tag = from === d ? 1 : 0;
    const flows = ways.map((way, i) => `${flow + i},${idOf(way.to)},${tag},${text(way)}`);
    return start(['send', each, ...flows], { netns: from.ns, ...(cgroup && { cgroup }) });
  }

  return {
    async finish() {
      const tried = await Promise.all(intruders.map((each) => each.end<Sent>()));
      const knocked = await Promise.all(knocking.map((each) => each.end<Knocked>()));
      const sent = await Promise.all(senders.map((each) => each.end<Sent>()));
      const talked = await Promise.all(talkers.map((each) => each.end<Talked>()));
      const dialled = await Promise.all(dialling.map((each) => each.end<Dialled>()));
      await sleep(300);
      const heard = await Promise.all(hearers.map(({ process }) => process.end<Heard>()));
      await Promise.all(echoes.map((each) => each.end()));
      assertNothingLost(sent, heard);
      for (const each of talked)
        assert.deepEqual(
          { broken: each.broken, silent: each.silent, wrong: each.wrong },
          { broken: 0, silent: 0, wrong: 0 },
        );
      for (const { tried, ...rest } of dialled)
        assert.deepEqual(
          { tried: tried > 0, refused: rest.failed, silent: rest.silent },
          { tried: true, refused: 0, silent: 0 },
        );
      for (const each of knocked) assert.deepEqual([each.letIn, each.tried > 0], [0, true]);
      const numbers = sent.flatMap(({ flows }) => Object.values(flows).map((flow) => flow.sent));
      return JSON.stringify({
        datagrams: numbers.reduce((sum, each) => sum + each, 0),
        perSecond: Math.round(
          sent.reduce((sum, { seconds, flows }) => sum + total(flows, 'sent') / seconds, 0),
        ),
        connections: talked.reduce((sum, each) => sum + each.connections, 0),
        answers: talked.reduce((sum, each) => sum + each.answers, 0),
        longestWaitMs: Math.max(...talked.map((each) => each.gapMs)),
        retransmitted: talked.reduce((sum, each) => sum + each.retransmitted, 0),
        dialled,
        denied: {
          datagrams: tried.reduce((sum, { flows }) => sum + total(flows, 'sent'), 0),
          connects: knocked.reduce((sum, each) => sum + each.tried, 0),
        },
      });
    },
  };
}

const total = <K extends string>(flows: Readonly<Record<string, Record<K, number>>>, key: K): number =>
  Object.values(flows).reduce((sum, flow) => sum + flow[key], 0);

function assertNothingLost(sent: readonly Sent[], heard: readonly Heard[]): void {
  for (const { foreign, forbidden, overflow } of heard)
    assert.deepEqual({ foreign, forbidden, overflow }, { foreign: 0, forbidden: 0, overflow: 0 });
  for (const { flows } of sent)
    for (const [flow, { sent: count, failed }] of Object.entries(flows)) {
      const arrived = heard.map((each) => each.flows[flow]).filter((each) => each !== undefined);
      assert.deepEqual(
        { flow, failed, arrived },
        { flow, failed: 0, arrived: [{ received: count, twice: 0, behind: 0, missing: [] }] },
      );
    }
}

/** Every node goes over to the programs of `objectDir`, as an agent that starts anew with them does. */
export async function goOver(
  t: TestContext,
  cluster: Cluster<OpenedEbpf>,
  { objectDir, learning }: { objectDir: string | undefined; learning: number },
): Promise<void> {
  for (const [i, node] of cluster.lab.nodes.entries()) {
    const old = cluster.backends[i]!;
    const next = openEbpfWith(objectDir === undefined ? {} : { objectDir })(t, node);
    const migrated = new Set(next.programs.migrations.map(({ map }) => map));
    assert.deepEqual(
      OTHER_MAPS.filter((map) => !migrated.has(map)),
      [],
    );
    const unfit = next.programs.migrations.filter((migration) => migration.unfit > 0);
    assert.deepEqual(unfit, []);
    // An agent first learns what it is to be.
    await sleep(learning);
    assert.deepEqual(await next.prune(cluster.plans[i]!.state), []);
    assert.deepEqual(await next.verify(), []);
    old.close();
    cluster.backends[i] = next;
  }
}

export async function upgradeUnderLoad(t: TestContext, load: UpgradeLoad): Promise<void> {
  const home = homeCgroup();
  const objectDir = await buildOtherLayout(t);
  const cluster = await upgradeCluster(t, openEbpfWith({}));
  const traffic = await startTraffic(t, cluster, home, load);
  const times: number[] = [];
  for (let round = 0; round < load.rounds; round++)
    for (const build of [objectDir, undefined]) {
      await sleep(load.pause);
      const begin = performance.now();
      await goOver(t, cluster, { objectDir: build, learning: load.learning });
      times.push(Math.round(performance.now() - begin));
    }
  await sleep(load.pause);
  t.diagnostic(await traffic.finish());
  t.diagnostic(`changes of both nodes: ${times.join(', ')} ms`);
}
