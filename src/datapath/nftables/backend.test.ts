import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { bindUdp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createCluster, serviceAddresses } from '../testing/cluster.ts';
import { openNftables } from '../testing/nftables.ts';
import { settled } from '../testing/packets.ts';
import { dialTcp, keepTcp, serveTcp } from '../testing/traffic.ts';

const options = { skip: needsRoot };
const listing = (byHand: (commands: string) => string): string =>
  byHand('list table inet heddle').replaceAll(/packets \d+ bytes \d+/g, '');
const sorted = (text: string): string[] =>
  text
    .split(/[\n,{}]/)
    .map((line) => line.trim())
    .sort();

async function policed(t: Parameters<typeof createCluster>[0]) {
  const cluster = await createCluster(t, openNftables);
  cluster.setService('s', 1, [{ port: 80, target: 8080 }], [cluster.pod('b'), cluster.pod('c')]);
  const [tables] = await cluster.setPolicies({
    a: {
      podSelector: { matchLabels: { app: 'a' } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }] }],
      egress: [{ to: [{ podSelector: {} }], ports: [{ port: 8080 }] }],
    },
  });
  const allow = [...tables!.rules.values()].find(
    ({ verdict, direction }) => verdict === 'allow' && direction === 'egress',
  );
  const number = (allow?.number ?? 0).toString(16).padStart(8, '0');
  const table = [...tables!.tables.values()].find(({ direction }) => direction === 'egress');
  const policy = (table?.number ?? 0).toString(16).padStart(8, '0');
  return { ...cluster, rule: `rule-${number}`, policy };
}

const T = 'inet heddle';

test('damage by hand is found, and mended by what differs alone', options, async (t) => {
  const { backends, plans, rule, policy, pod } = await policed(t);
  const backend = backends[0]!;
  const whole = sorted(listing(backend.byHand));
  const harm = [
    `delete element ${T} egress4 { ${pod('a').addresses[0]} }`,
    `delete element ${T} hosts6 { ${pod('c').addresses[1]} }`,
    `delete element ${T} nets4 { 10.0.0.0/16 }`,
    `delete element ${T} backends4 { 10.96.0.1 . tcp . 80 . 1 }`,
    `delete element ${T} services6 { fd00:10:96::1 . tcp . 80 }`,
    `delete element ${T} service-nets4 { 10.96.0.0/16 }`,
    `add element ${T} self4 { 10.9.9.9 . 10.9.9.9 }`,
    `add element ${T} origins4 { "veth9" . 10.9.9.9 }`,
    `add element ${T} hosts4 { 10.9.9.9 : 7 }`,
    `flush chain ${T} ${rule}`,
    `flush chain ${T} policy-${policy}`,
    `flush map ${T} ports-${policy}`,
    `insert rule ${T} forward accept`,
    `add rule ${T} ${rule} drop`,
    `add chain ${T} mine { type filter hook forward priority -5; policy drop; }`,
    `add chain ${T} mine; add rule ${T} mine drop; add rule ${T} forward jump mine`,
    `add set ${T} mine { type inet_service; elements = { 80 }; }`,
    `add map ${T} mine { type mark : verdict; elements = { 1 : accept }; }`,
    `add counter ${T} mine`,
    `add quota ${T} mine { over 1 bytes; }`,
    `add chain ${T} forward { policy drop; }`,
    `flush chain ${T} postrouting; delete chain ${T} postrouting`,
    `flush chain ${T} forward; flush chain ${T} output; delete chain ${T} refuse`,
    `flush chain ${T} saddr4; flush chain ${T} daddr4; delete map ${T} nets4`,
    `add table ${T} { flags dormant; }`,
    `flush table ${T}`,
    `delete table ${T}`,
  ];
  for (const commands of harm) {
    backend.byHand(
      commands.replaceAll('; ', '\n').replaceAll(/\{([^}]*)\}/g, (block) => block.replaceAll('\n', '; ')),
    );
    assert.notDeepEqual(await backend.verify(), [], commands);
    const before = backend.sent.length;
    const mended = await backend.prune(plans[0]!.state);
    assert.notDeepEqual(mended, [], commands);
    assert.equal(backend.sent.length, before + 1, 'one transaction');
    assert.deepEqual(await backend.verify(), [], commands);
    assert.deepEqual(sorted(listing(backend.byHand)), whole, commands);
  }
});

test('a change meets a table that was changed by hand, and mends it on the way', options, async (t) => {
  const { backends, pod, setService, apply } = await policed(t);
  const backend = backends[0]!;
  backend.byHand(`flush map ${T} backends4\nflush map ${T} services4`);
  setService('s', 1, [{ port: 80, target: 8080 }], [pod('c')]);
  await apply();
  assert.deepEqual(await backend.verify(), []);
});

test('what cannot be applied is an error, and the next prune converges', options, async (t) => {
  const { backends, plans, setPolicies } = await policed(t);
  const backend = backends[0]!;
  const bad = { table: 'endpoints', key: '10.244.1.9', value: { ingress: 12345, egress: 0 } } as const;
  await assert.rejects(backend.apply([bad]), { code: 'Nft' });
  await backend.prune(plans[0]!.state);
  await setPolicies({});
  assert.deepEqual(await backend.verify(), []);
});

test('one more endpoint is a handful of elements in one transaction', options, async (t) => {
  const { backends, pod, setService, apply } = await createCluster(t, openNftables);
  setService('s', 1, [{ port: 80, target: 8080 }], [pod('b')]);
  await apply();
  const before = backends[0]!.sent.length;
  setService('s', 1, [{ port: 80, target: 8080 }], [pod('b'), pod('c')]);
  await apply();
  const sent = backends[0]!.sent.slice(before);
  assert.equal(sent.length, 1);
  assert.equal(sent[0]?.match(/add element inet heddle backends[46] /g)?.length, 2);
  assert.ok((sent[0]?.split('\n').length ?? 99) <= 16, sent[0]);
});

/** Policy for c, harm without effect on packets, and mending it, for as long as `during` runs. */
async function underMending(
  t: Parameters<typeof createCluster>[0],
  harm: readonly string[],
  during: (cluster: Awaited<ReturnType<typeof policed>>) => Promise<void>,
): Promise<void> {
  const cluster = await policed(t);
  await cluster.setPolicies({
    c: {
      podSelector: { matchLabels: { app: 'c' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'a' } } }] }],
    },
  });
  const state = { ended: false };
  const work = during(cluster).finally(() => {
    state.ended = true;
  });
  for (let i = 0; !state.ended; i++) {
    cluster.backends[1]?.byHand(harm[i % harm.length] ?? '');
    assert.notDeepEqual(await cluster.backends[1]?.prune(cluster.plans[1]!.state), []);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  await work;
}

const FOREIGN = [`add chain ${T} mine`, `add set ${T} other { type mark; }`];
/** Mended by a new table in the place of the old one. */
const RETYPED = [`add table ${T} { flags dormant; }`];

for (const [what, harm] of [
  ['mended', FOREIGN],
  ['replaced', RETYPED],
] as const)
  test(`no datagram is lost while the table is ${what} under traffic`, options, (t) =>
    underMending(t, harm, async ({ pod }) => {
      const COUNT = 3000;
      const got = new Set<number>();
      const [server, client] = [createSocket('udp4'), createSocket('udp4')];
      t.after(() => {
        server.close();
        client.close();
      });
      server.on('message', (data) => got.add(data.readUInt32BE(0)));
      const to = pod('c').addresses[0];
      server.bind({ fd: bindUdp(pod('c').ns, to, 9000) });
      client.bind({ fd: bindUdp(pod('a').ns, '0.0.0.0', 0) });
      for (let i = 0; i < COUNT; i++) {
        const data = Buffer.alloc(4);
        data.writeUInt32BE(i);
        await new Promise((resolve) => client.send(data, 9000, to, resolve));
        if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await settled(
        () => got.size === COUNT,
        () => `${COUNT - got.size} datagrams`,
      );
    }),
  );

test('a policy holds at every moment while the table is mended', options, (t) =>
  underMending(t, FOREIGN, async ({ pod }) => {
    serveTcp(t, pod('c').ns, 8080, 'c');
    for (let i = 0; i < 40; i++) {
      const to = pod('c').addresses[i % 2] ?? '';
      assert.equal((await dialTcp(pod('a').ns, to, 8080)).server, 'c');
      assert.deepEqual(await dialTcp(pod('b').ns, to, 8080, { timeoutMs: 20 }), { why: 'ETIMEDOUT' });
    }
  }),
);

test('service traffic survives changes of its other backends', options, async (t) => {
  const { pod, setService, apply } = await createCluster(t, openNftables);
  for (const name of ['b', 'c']) serveTcp(t, pod(name).ns, 8080, name);
  const ports = [{ port: 80, target: 8080 }];
  setService('s', 1, ports, [pod('b'), pod('c')]);
  await apply();
  const kept = await keepTcp(t, pod('a').ns, serviceAddresses(1)[0], 80);
  for (const names of [['b'], ['c'], [], ['b', 'c']]) {
    setService('s', 1, ports, names.map(pod));
    await apply();
    assert.ok(await kept.echo(), 'a connection stays with the backend it has');
  }
});
