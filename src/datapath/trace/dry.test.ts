/** Traced packets in the loaded programs of two nodes: the same as the plans say, until somebody tampers. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { detachTc } from '../../kernel/bpf/links.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { schemaViolations } from '../../../test/schema.ts';
import type { NodeView } from '../dump/source.ts';
import { createCluster } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { OUTSIDE } from '../testing/lab.ts';
import { type Ask, dryRun } from './dry.ts';
import { packetOf, type PacketWords } from './ends.ts';
import { trace } from './trace.ts';

async function setUp(t: TestContext) {
  const cluster = await createCluster(t, openEbpf);
  const { lab, plans, backends } = cluster;
  const views = new Map(
    lab.nodes.map(({ name }, i): [string, NodeView] => [
      name,
      {
        node: name,
        backend: 'ebpf',
        state: plans[i]!.state,
        pods: lab.pods.map(({ key, node, addresses }) => ({ pod: key, node, addresses })),
        nodes: lab.nodes.map(({ remote }) => ({ name: remote.node, addresses: remote.addresses })),
      },
    ]),
  );
  const ask: Ask = (node, packet) =>
    backends[lab.nodes.findIndex(({ name }) => name === node)]!.probe!(packet);
  const traceBoth = async (words: Partial<PacketWords>, by: Ask = ask) => {
    const packet = packetOf({ from: 'default/a', to: 'default/b:80', protocol: 'TCP', ...words }, [
      ...views.values(),
    ]);
    // Names are looked up once for a view.
    const traced = trace(packet, new Map([...views].map(([name, view]) => [name, { ...view }])))!;
    const dry = await dryRun(traced, views, by);
    assert.deepEqual(schemaViolations('datapath-trace', { trace: traced, dry, live: null }), []);
    return { traced, dry };
  };
  return { ...cluster, ask, traceBoth };
}

const only = (app: string, port: number) => ({
  from: [{ podSelector: { matchLabels: { app } } }],
  ports: [{ port }],
});

test('the loaded programs say what the plans say', { skip: needsRoot }, async (t) => {
  const { traceBoth, setPolicies, setService, apply, pod } = await setUp(t);
  const [a, b, c] = [pod('a'), pod('b'), pod('c')];
  await setPolicies({
    b: { podSelector: { matchLabels: { app: 'b' } }, ingress: [only('a', 80), only('a', 8080)] },
    c: { podSelector: { matchLabels: { app: 'c' } }, ingress: [only('a', 80)] },
    a: {
      podSelector: { matchLabels: { app: 'a' } },
      policyTypes: ['Egress'],
      egress: [{ ports: [80, 81, 8080].map((port) => ({ port })) }],
    },
  });
  setService('served', 7, [{ port: 80, target: 8080 }], [b, c]);
  setService('empty', 8, [{ port: 80, target: 8080 }], []);
  setService('self', 9, [{ port: 80, target: 8080 }], [a]);
  await apply();
  for (const family of [4, 6] as const) {
    const at = family === 4 ? 0 : 1;
    const own = family === 4 ? '10.240.0.11' : '[fd00:10:240::11]';
    const cases: [string, Partial<PacketWords>, string, number][] = [
      ['to a pod of the same node, by rule', {}, 'allow', 1],
      ['to a pod of the other node, by rule of both', { to: 'default/c:80' }, 'allow', 2],
      ['by default deny of the receiver', { to: 'default/b:81' }, 'deny', 1],
      ['by default deny of the receiver, on the other node', { to: 'default/c:81' }, 'deny', 2],
      ['by default deny of the sender', { to: 'default/b:82' }, 'deny', 1],
      ['datagrams', { protocol: 'UDP', from: 'default/c', to: 'default/a:53' }, 'allow', 2],
      ['an echo', { protocol: 'ICMP', from: 'default/c', to: 'default/a' }, 'allow', 2],
      ['an echo that nothing admits', { protocol: 'ICMP', to: 'default/b' }, 'deny', 1],
      ['a service, of which one backend denies', { to: 'default/served:80' }, 'mixed', 1],
      ['a service without backends', { to: 'default/empty:80' }, 'refuse', 1],
      ['a service that is the client itself', { to: 'default/self:80' }, 'allow', 1],
      [
        'a service that is not there',
        { to: `${at === 0 ? '10.96.0.99' : '[fd00:10:96::99]'}:80` },
        'refuse',
        1,
      ],
      ['an address of somebody else', { from: 'default/b', sender: 'default/a' }, 'drop', 1],
      [
        'the outside',
        { from: 'default/b', to: `${at === 0 ? OUTSIDE[0] : `[${OUTSIDE[1]}]`}:443` },
        'allow',
        1,
      ],
      ['the node', { from: 'default/b', to: `${own}:443` }, 'allow', 1],
      ['of the node', { from: 'node-1' }, 'allow', 1],
      ['of the node to the other', { from: 'node-1', to: 'default/c:80' }, 'deny', 1],
      ['of the outside', { from: OUTSIDE[at] }, 'deny', 2],
      ['of the outside where nothing isolates', { from: OUTSIDE[at], to: 'default/a:80' }, 'allow', 2],
    ];
    for (const [name, words, verdict, hops] of cases)
      await t.test(`IPv${family}: ${name}`, async () => {
        const { traced, dry } = await traceBoth({ ...words, family });
        assert.deepEqual([traced.verdict, dry.differences], [verdict, []]);
        assert.equal(dry.ways[0]?.hops.length, verdict === 'mixed' ? dry.ways[0]?.hops.length : hops);
        assert.ok(dry.ways.every(({ complete }) => complete));
        if (verdict === 'mixed')
          assert.deepEqual(dry.ways.map((way) => way.verdict).sort(), ['allow', 'deny']);
        else assert.equal(dry.ways[0]?.verdict, verdict);
      });
  }
});

test('an entry that somebody changed is a difference, with both answers', { skip: needsRoot }, async (t) => {
  const { traceBoth, setPolicies, setService, apply, pod, backends, lab } = await setUp(t);
  const c = pod('c');
  await setPolicies({
    b: { podSelector: { matchLabels: { app: 'b' } }, ingress: [only('a', 80)] },
    c: { podSelector: { matchLabels: { app: 'c' } }, ingress: [only('a', 80)] },
  });
  setService('served', 7, [{ port: 80, target: 80 }], [c]);
  await apply();
  const [here, there] = backends.map(({ programs }) => programs);
  const rewrite = (programs: typeof here, name: string, change: (value: never) => object): void => {
    const map = programs!.map(name);
    const { value } = programs!.mapCodecs<never, never>(name);
    for (const [key, bytes] of map.entries()) {
      const was = value.decode(bytes);
      map.update(key, value.encode({ ...(was as object), ...change(was) } as never));
    }
  };
  assert.deepEqual((await traceBoth({})).dry.differences, []);

  rewrite(here, 'policy_entries', ({ verdict }: { verdict: number }) => ({ verdict: 1 - verdict }));
  const denied = await traceBoth({});
  assert.equal(denied.traced.verdict, 'allow');
  const [difference] = denied.dry.differences;
  assert.deepEqual([difference?.node, difference?.what], ['node-1', 'verdict']);
  assert.equal(difference?.plan, 'allowed');
  assert.match(difference?.kernel ?? '', /^denied: .*default\/b spec\.ingress\[0\]/);
  const [letThrough] = (await traceBoth({ to: 'default/b:81' })).dry.differences;
  assert.match(letThrough?.plan ?? '', /^denied: default deny ingress/);
  assert.match(letThrough?.kernel ?? '', /^allowed/);

  rewrite(there, 'policy_entries', () => ({ rule: 99 }));
  const [rule] = (await traceBoth({ to: 'default/c:80' })).dry.differences;
  assert.deepEqual([rule?.node, rule?.what], ['node-2', 'rule']);
  assert.match(rule?.kernel ?? '', /rule 00000063/);

  rewrite(here, 'backends', () => ({ port: 0x911f }));
  const [destination] = (await traceBoth({ to: 'default/served:80' })).dry.differences;
  assert.deepEqual(destination, {
    node: 'node-1',
    what: 'destination',
    plan: `${c.addresses[0]}:80`,
    kernel: `${c.addresses[0]}:8081`,
  });

  const node = lab.nodes[0]!;
  const { index } = node.route.link(pod('a').interface)!;
  detachTc({
    ifindex: index,
    ns: node.ns,
    direction: 'ingress',
    pinPath: here!.linkPath(`from-pod-${index}`),
  });
  const [program] = (await traceBoth({ from: 'default/a', to: 'default/c:81' })).dry.differences;
  assert.deepEqual([program?.node, program?.what], ['node-1', 'program']);
});

test('a data path that cannot run a packet is named, and what is known is by the plan', {
  skip: needsRoot,
}, async (t) => {
  const { traceBoth, ask } = await setUp(t);
  const none = await traceBoth({ to: 'default/c:80' }, async () => null);
  assert.deepEqual(none.dry, {
    byPlan: [
      { node: 'node-1', backend: 'ebpf' },
      { node: 'node-2', backend: 'ebpf' },
    ],
    ways: [],
    differences: [],
  });
  const half = await traceBoth({ to: 'default/c:80' }, async (node, packet) =>
    node === 'node-1' ? ask(node, packet) : null,
  );
  assert.deepEqual(half.dry.byPlan, [{ node: 'node-2', backend: 'ebpf' }]);
  assert.deepEqual(
    half.dry.ways.map(({ complete, verdict }) => [complete, verdict]),
    [[false, 'allow']],
  );
  const last = await traceBoth({ to: 'default/c:80' }, async (node, packet) =>
    node === 'node-2' ? ask(node, packet) : null,
  );
  assert.deepEqual(
    last.dry.ways.map(({ hops, complete }) => [hops[0]?.program, complete]),
    [['from_overlay', true]],
  );
});
