import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createOverlay } from '../../datapath/overlay.ts';
import { probeAddress } from '../../datapath/path/address.ts';
import { openPathEnds } from '../../datapath/path/ends.ts';
import { judgePath, type PathVerdict } from '../../datapath/path/judge.ts';
import { closeNetns, deleteNetns, openNetns } from '../../kernel/netns.ts';
import { openRoute } from '../../kernel/route.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createLog, silentLog } from '../../lib/log.ts';
import type { ClusterConfig, NodeConfig } from '../config.ts';
import { planCluster } from '../plan.ts';
import { createTopology } from '../topology.ts';
import { linesStatus, setLinks } from './client.ts';
import type { PlaceLink } from './places.ts';
import { runLines } from './run.ts';

const log = createLog({ level: 'error', write: () => {} });
/** What a test made goes in the other order, also when it fails. */
function undoing(t: TestContext): (undo: () => void | Promise<void>) => void {
  const all: (() => void | Promise<void>)[] = [];
  t.after(async () => {
    for (const undo of all.toReversed()) await undo();
  });
  return (undo) => void all.push(undo);
}

const LATENCY = 5;
const between = ['a', 'b'] as const;

/** Two zones with a node each, and who carries frames between them. */
function zones(later: ReturnType<typeof undoing>) {
  const folder = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-`));
  later(() => rmSync(folder, { recursive: true, force: true }));
  const named = [
    { name: 'na', zone: 'a' },
    { name: 'nb', zone: 'b' },
  ];
  const links: PlaceLink[] = [{ between, latency: LATENCY }];
  const config = planCluster({
    id: '00c0ffee',
    nodes: 2,
    named,
    links,
    apiPort: 1,
    standIn: false,
    datapath: 'ebpf',
  });
  const paths = {
    config: join(folder, 'cluster.json'),
    links: join(folder, 'links.json'),
    linesSocket: join(folder, 'lines.sock'),
    netns: (name: string) => join(folder, 'netns', name),
  };
  later(() => {
    for (const name of ['na', 'nb', 'control-plane', 'outside', 'underlay']) deleteNetns(paths.netns(name));
  });
  mkdirSync(join(folder, 'netns'));
  createTopology(config, paths);
  const ns = openNetns(paths.netns('underlay'));
  later(() => closeNetns(ns));
  const start = () => {
    const stop = new AbortController();
    const ended = runLines({ config, paths, log, ns }, stop.signal);
    later(async () => {
      stop.abort();
      await ended;
    });
    return { ended, stop: () => stop.abort() };
  };
  return { config, paths, start };
}

/** A node as its agent sets it up: the tunnel to the other one, and where it answers probes. */
function nodeEnds(later: ReturnType<typeof undoing>, config: ClusterConfig, self: NodeConfig, path: string) {
  const ns = openNetns(path);
  const route = openRoute(ns);
  later(() => {
    route.close();
    closeNetns(ns);
  });
  const overlay = createOverlay(route, {
    ...config.vxlan,
    mtu: config.podMtu,
    nodeAddresses: self.addresses,
  });
  const others = config.nodes.filter((node) => node !== self);
  overlay.prune({
    routes: new Map(
      others.map(({ name, addresses, podCidrs }) => [name, { node: name, addresses, podCidrs }]),
    ),
    settings: new Map(),
  });
  const probed = self.podCidrs.map(probeAddress);
  for (const address of probed)
    route.replaceAddress('lo', `${address}/${address.includes(':') ? 128 : 32}`, {
      nodad: true,
      noSource: true,
    });
  const ends = openPathEnds({ addresses: [...self.addresses, ...probed], ns, log: silentLog });
  later(() => ends.close());
  return ends;
}

test('zones reach each other over their line alone; a path that swallows large packets is found to the byte', {
  skip: needsRoot,
  timeout: 180_000,
}, async (t) => {
  const later = undoing(t);
  const { config, paths, start } = zones(later);
  const [a, b] = config.nodes;
  assert.ok(a && b);
  const ends = nodeEnds(later, config, a, paths.netns('na'));
  nodeEnds(later, config, b, paths.netns('nb'));
  const judge = (to: string, full: number): Promise<PathVerdict> =>
    judgePath({ probe: (length, timeoutMs) => ends.probe(to, length, timeoutMs), full, small: 128 });
  const tunnels = b.podCidrs.map(probeAddress);
  const [under] = b.addresses;
  assert.ok(under !== undefined);
  assert.equal(await ends.probe(under, 128, 100), undefined, 'nobody carries yet');

  const first = start();
  await until(async () => (await ends.probe(under, 128, 1000)) !== undefined);
  for (const to of [under, ...tunnels]) {
    const verdict = await judge(to, to === under ? 1500 : config.podMtu);
    assert.equal(verdict.state, 'proved', to);
    assert.ok(verdict.state === 'proved' && verdict.rtt >= 2 * LATENCY, 'there and back');
  }
  assert.ok((await linesStatus(paths)).counters.every(({ frames }) => frames > 0));

  await setLinks(paths, [{ between, latency: 1, blackHoleAbove: 1499 }]);
  const holes = await Promise.all([...tunnels.map((to) => judge(to, config.podMtu)), judge(under, 1500)]);
  assert.deepEqual(
    holes.map((verdict) => verdict.state === 'black-hole' && [verdict.passes, verdict.fails]),
    [
      [1449, 1450],
      [1449, 1450],
      [1499, 1500],
    ],
  );

  await setLinks(paths, [{ between, latency: 1, loss: 0.4 }]);
  const lossy = await Promise.all(tunnels.map((to) => judge(to, config.podMtu)));
  assert.ok(lossy.every(({ state }) => state !== 'black-hole'));

  first.stop();
  await first.ended;
  await setLinks(paths, []).catch(() => {});
  start();
  await until(async () => (await linesStatus(paths).catch(() => undefined)) !== undefined);
  assert.equal(
    (await linesStatus(paths)).links[0]?.loss,
    0.4,
    'who comes after has the links as they were last',
  );
  await setLinks(paths, [{ between, loss: 1 }]);
  assert.equal(await ends.probe(under, 128, 100), undefined);
  await setLinks(paths, []);
  await until(async () => (await ends.probe(under, 128, 1000)) !== undefined);
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail('it did not come to pass');
}
