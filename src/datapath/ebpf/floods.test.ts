import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { type Cluster, createCluster, serviceAddresses } from '../testing/cluster.ts';
import { openEbpfWith } from '../testing/ebpf.ts';
import { type Draw, flood } from '../testing/flood.ts';
import { type LabPod, OUTSIDE } from '../testing/lab.ts';
import { FAMILIES, wish } from '../testing/service-lab.ts';
import { type Answer, dialTcp, dialUdp, keepTcp, serveTcp, serveUdp } from '../testing/traffic.ts';

/** `node src/datapath/ebpf/floods.test.ts --seconds 60` for a deep check, with maps as large as they come. */
const flag = process.argv.indexOf('--seconds');
const seconds = flag < 0 ? 4 : Number(process.argv[flag + 1]);
const SMALL = {
  flows4: 4096,
  flows6: 4096,
  crowd4: 1024,
  crowd6: 1024,
  nat4: 4096,
  nat6: 4096,
  fragments: 256,
  uplink_fragments: 256,
};
const size = flag < 0 ? SMALL : {};
const PORT = 8080;
const UDP_PORT = 5353;
/** Of ranges that nobody answers from. */
const SILENT = ['198.51.100', '2001:db8:dead:'] as const;

const port = (serial: number): number => 1024 + ((serial * 7919) % 60_000);
const silent = (family: 0 | 1, serial: number): string =>
  family === 0
    ? `${SILENT[0]}.${1 + (serial % 250)}`
    : `${SILENT[1]}:${(serial & 0xffff).toString(16)}:${(serial >>> 16).toString(16)}`;

/** To one place each: pods here and elsewhere, a service, the outside, neighbours that are not there. */
function drawsTo(targets: readonly string[]): Draw[] {
  const tcp = { protocol: 6, tcpFlags: 2 };
  const perFamily = (family: 0 | 1): Draw[] => [
    (n) => ({ ...tcp, dst: silent(family, n), sport: port(n), dport: 443 }),
    (n) => ({ protocol: 17, dst: silent(family, 1), sport: port(n), dport: 53 }),
    (n) => ({ protocol: 17, dst: OUTSIDE[family], sport: port(n), dport: UDP_PORT }),
    (n) => ({ ...tcp, dst: OUTSIDE[family], sport: port(n), dport: PORT }),
    (n) => ({ ...tcp, dst: serviceAddresses(1)[family], sport: port(n), dport: 80 }),
    (n) => ({
      protocol: 17,
      dst: OUTSIDE[family],
      sport: 7,
      dport: 7,
      fragment: { id: n & 0xffff, part: 'first' },
    }),
    (n) => ({
      ...tcp,
      dst: family === 0 ? `10.240.0.${20 + (n % 200)}` : `fd00:10:240::${(n & 0xffff).toString(16)}:1`,
      sport: port(n),
      dport: 22,
    }),
  ];
  return [
    ...FAMILIES.flatMap(perFamily),
    ...targets.flatMap((dst): Draw[] => [
      (n) => ({ ...tcp, dst, sport: port(n), dport: port(n * 3) }),
      (n) => ({ protocol: 17, dst, sport: port(n), dport: port(n * 5) }),
    ]),
  ];
}

test('what one pod sends without end costs no other pod its connections, and the pod is named', {
  skip: needsRoot,
}, async (t) => {
  const cluster = await createCluster(t, openEbpfWith({ maxEntries: size }), [
    ['loud', 'quiet', 'server'],
    ['far', 'client'],
  ]);
  const { lab, pod, backends } = cluster;
  const [server, far, quiet] = [pod('server'), pod('far'), pod('quiet')];
  for (const each of [server, far]) serveTcp(t, each.ns, PORT, each.name);
  serveTcp(t, lab.outside, PORT, 'outside');
  serveUdp(t, lab.outside, OUTSIDE, UDP_PORT, 'outside');
  await cluster.setFrontends([wish('ClusterIP', [server, far])]);
  const tries = [quiet, pod('client')].flatMap((from) => triesOf(from, [server, far]));
  const places = [server.addresses, far.addresses, ...Array.from({ length: 8 }, () => OUTSIDE)].flat();
  const kept = await Promise.all(places.map((address) => keepTcp(t, quiet.ns, address, PORT)));
  for (const { name, dial } of tries) assert.ok((await dial()).server, name);

  const storm = flood(t, pod('loud'), drawsTo([server, far, quiet].flatMap(({ addresses }) => addresses)));
  const { dialled, failures } = await dialFor(tries);
  await storm.stop();
  const connected = `${dialled - failures.length} of ${dialled} connected`;
  t.diagnostic(`${storm.sent()} packets sent, ${connected}`);
  assert.ok(failures.length <= dialled * 0.05, `${connected}: ${failures.join(', ')}`);
  for (const [i, { echo }] of kept.entries())
    assert.ok(await echo(), `the connection to ${places[i]} is there`);

  checkCulprit(t, cluster);
  for (const backend of backends) assert.deepEqual(await backend.verify(), []);
});

test('a pod whose connections to the outside all live gets its share of them, and others theirs', {
  skip: needsRoot,
}, async (t) => {
  const { lab, pod, backends } = await createCluster(
    t,
    openEbpfWith({ maxEntries: { nat4: 1024, nat6: 1024 } }),
    [['loud', 'quiet']],
  );
  const share = 1024 / 2 / 8;
  serveTcp(t, lab.outside, PORT, 'outside');
  /** Some are refused, in silence. */
  const some = { timeoutMs: 5000 };
  const open = (from: LabPod, family: 0 | 1, options = {}) =>
    keepTcp(t, from.ns, OUTSIDE[family], PORT, options).then(
      (kept) => kept,
      () => undefined,
    );
  for (const family of FAMILIES) {
    const first = await Promise.all(Array.from({ length: share }, () => open(pod('loud'), family)));
    assert.ok(first.every(Boolean), 'its share is its own');
    const more = await Promise.all(Array.from({ length: 5 }, () => open(pod('loud'), family, some)));
    assert.deepEqual(more.filter(Boolean), [], 'and no more');
    assert.ok(await open(pod('quiet'), family), 'others have theirs');
    for (const kept of first) assert.ok(await kept?.echo(), 'nothing that lives gives way');
    for (const kept of first.slice(0, 20)) kept?.socket.resetAndDestroy();
    // Sixteen slots are looked at for each.
    const last = await Promise.all(Array.from({ length: share / 16 }, () => open(pod('loud'), family, some)));
    assert.ok(last.some(Boolean), 'what has ended makes room');
  }
  assert.ok((backends[0]?.drops?.().get('share')?.packets ?? 0) > 0);
  assert.deepEqual(
    backends[0]?.podUse?.().map((use) => [use.pod, use.refused > 0]),
    [['default/loud', true]],
  );
});

async function dialFor(tries: readonly Try[]): Promise<{ dialled: number; failures: string[] }> {
  const failures: string[] = [];
  let dialled = 0;
  for (const end = performance.now() + seconds * 1000; performance.now() < end; )
    for (const { name, dial } of tries) {
      const { server, why } = await dial();
      dialled++;
      if (server === undefined) failures.push(`${name}: ${why}`);
    }
  return { dialled, failures };
}

function checkCulprit(t: TestContext, { lab, backends: [backend] }: Cluster): void {
  const uses = backend?.podUse?.() ?? [];
  t.diagnostic(JSON.stringify(uses));
  assert.deepEqual(
    uses.map((use) => use.pod),
    ['default/loud'],
  );
  for (const what of ['crowded', 'gaveWay', 'refused'] as const)
    assert.ok(
      uses.every((use) => use[what] > 0),
      what,
    );
  assert.ok((backend?.drops?.().get('neighbour')?.packets ?? 0) > 0);
  // Nor does it fill what all namespaces of the machine share: the stack's neighbours.
  assert.ok((lab.nodes[0]?.route.neighbours().length ?? 0) < 150);
}

interface Try {
  readonly name: string;
  dial(): Promise<Answer>;
}

/** Every way that a pod connects, in both families. */
function triesOf(from: LabPod, pods: readonly LabPod[]): Try[] {
  // Time for what was lost to be sent again, more than once.
  const timeoutMs = 8000;
  return FAMILIES.flatMap((family): Try[] => [
    ...pods.map(({ name, addresses }) => ({
      name: `${from.name} to ${name} ${family}`,
      dial: () => dialTcp(from.ns, addresses[family], PORT, { timeoutMs }),
    })),
    {
      name: `${from.name} to the service ${family}`,
      dial: () => dialTcp(from.ns, serviceAddresses(1)[family], 80, { timeoutMs }),
    },
    {
      name: `${from.name} to the outside ${family}`,
      dial: () => dialTcp(from.ns, OUTSIDE[family], PORT, { timeoutMs }),
    },
    {
      name: `${from.name} asks the outside ${family}`,
      dial: () => dialUdp(from.ns, OUTSIDE[family], UDP_PORT, { timeoutMs }),
    },
  ]);
}
