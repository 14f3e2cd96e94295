import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createCluster, serviceAddresses } from '../testing/cluster.ts';
import { openNftables } from '../testing/nftables.ts';
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
    `delete element ${T} nets4 { 10.2.0.0/15 }`,
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
    `flush chain ${T} forward; flush map ${T} egress4; flush chain ${T} refuse; delete chain ${T} refuse`,
    `flush chain ${T} request4; delete map ${T} nets4`.replace(
      'delete map',
      'flush chain inet heddle reply4; delete map',
    ),
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
  assert.ok((sent[0]?.split('\n').length ?? 99) <= 14, sent[0]);
});

test('no packet is lost while the table is pruned, mended and replaced under traffic', options, async (t) => {
  const { backends, plans, pod, setPolicies } = await createCluster(t, openNftables);
  serveTcp(t, pod('c').ns, 8080, 'c');
  await setPolicies({
    c: {
      podSelector: { matchLabels: { app: 'c' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'a' } } }] }],
    },
  });
  const [backend, plan] = [backends[1]!, plans[1]!];
  const kept = await keepTcp(t, pod('a').ns, pod('c').addresses[0], 8080);
  let working = true;
  const load = async () => {
    let calls = 0;
    for (; working; calls++) {
      assert.equal((await dialTcp(pod('a').ns, pod('c').addresses[calls % 2] ?? '', 8080)).server, 'c');
      assert.ok(await kept.echo());
      // A gap would let others in: the policy must hold at every moment too.
      const denied = await dialTcp(pod('b').ns, pod('c').addresses[calls % 2] ?? '', 8080, { timeoutMs: 20 });
      assert.deepEqual(denied, { why: 'ETIMEDOUT' });
    }
    return calls;
  };
  const calls = load();
  for (let i = 0; i < 40; i++) {
    if (i % 4 === 1) backend.byHand(`add chain ${T} mine`);
    if (i % 4 === 2) backend.byHand(`add table ${T} { comment "x"; }\nadd set ${T} other { type mark; }`);
    if (i % 8 === 3) backend.byHand(`add chain ${T} forward { policy drop; }`);
    await backend.prune(plan.state);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  working = false;
  assert.ok((await calls) > 0);
});

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
