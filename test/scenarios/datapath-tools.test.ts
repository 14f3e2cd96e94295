import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { takeInventory } from '../../src/cluster/snapshot.ts';
import { openMap } from '../../src/kernel/bpf/map.ts';
import { getPinned } from '../../src/kernel/bpf/syscall.ts';
import { closeNetns, openNetns } from '../../src/kernel/netns.ts';
import { openNft } from '../../src/kernel/nft.ts';
import { readSysctl } from '../../src/kernel/sysctl.ts';
import { schemaViolations } from '../schema.ts';
import { execute, type LocalCluster, root, upCluster } from './local-cluster.ts';

interface TraceAnswer {
  trace: {
    verdict: string;
    branches: { name: string | null; steps: { direction?: string; text: string }[] }[];
  };
  dry: {
    byPlan: { node: string; backend: string }[];
    ways: { verdict: string; hops: { program: string; ingress: string | null }[] }[];
    differences: object[];
  };
  live: { verdict: string; direction: string; text: string }[] | null;
}

test('the data path can be looked into, and nodes tuned', { timeout: 300_000 }, async (t) => {
  const cluster = await upCluster(t, join(root, 'examples/shop'), '--datapath', 'nftables');
  const ask = async <T>(schema: string, ...args: string[]): Promise<T> => {
    const answer = JSON.parse(await cluster.must(...args, '-o', 'json')) as T;
    assert.deepEqual(schemaViolations(schema, answer), [], args.join(' '));
    return answer;
  };
  const pods = JSON.parse(await cluster.must('get', 'pods', '-n', 'shop', '-o', 'json')) as {
    items: { metadata: { name: string } }[];
  };
  const podOf = (app: string) =>
    pods.items.map(({ metadata }) => metadata.name).find((name) => name.startsWith(`${app}-`)) ?? '';

  await t.test('pools, blocks and addresses of pods are as the cluster has them', async () => {
    const { pools } = await ask<{ pools: { pool: string; cidrs: string[] }[] }>('ipam-show', 'ipam', 'show');
    assert.deepEqual(
      pools.map(({ pool, cidrs }) => [pool, ...cidrs]),
      [
        ['default', '10.244.0.0/16'],
        ['default', 'fd00:10:244::/48'],
      ],
    );
    const cart = await cluster.must('get', 'pod', podOf('cart'), '-n', 'shop', '-o', 'json');
    const { podIP } = (JSON.parse(cart) as { status: { podIP: string } }).status;
    const has = ['ipam', 'addresses', '--ip', podIP];
    const { addresses } = await ask<{ addresses: { owner: string }[] }>('ipam-addresses', ...has);
    assert.deepEqual(
      addresses.map(({ owner }) => owner),
      [`shop/${podOf('cart')}`],
    );
  });

  await t.test('dumps, status and counters are what their schemas say', async () => {
    const { tables } = await ask<{ tables: Record<string, { node: string }[]> }>(
      'datapath-dump',
      'datapath',
      'dump',
      'all',
    );
    for (const [name, rows] of Object.entries(tables)) assert.ok(rows.length > 0, name);
    const backends = tables['backends'] as unknown as { service: string; pod: string | null }[];
    assert.equal(backends.find(({ service }) => service === 'shop/cart')?.pod, `shop/${podOf('cart')}`);
    const { nodes } = await ask<{ nodes: { ready: boolean }[] }>('datapath-status', 'datapath', 'status');
    assert.deepEqual(
      nodes.map(({ ready }) => ready),
      [true, true],
    );
    const { rules } = await ask<{ rules: { text: string | null }[] }>(
      'datapath-counters',
      'datapath',
      'counters',
    );
    assert.ok(rules.every(({ text }) => text));
    const text = await cluster.must('datapath', 'dump', 'policy', '--pod', podOf('cart'));
    assert.match(
      text,
      /NODE +POD +DIRECTION .*\n.*shop\/cart-.*NetworkPolicy shop\/from-web spec\.ingress\[0\]/s,
    );
  });

  await t.test('a trace says beforehand what a connection then meets, and shows it as it comes', async () => {
    for (const [from, expected] of [
      ['web', 'allow'],
      ['search', 'deny'],
    ] as const) {
      const args = ['datapath', 'trace', `shop/${podOf(from)}`, 'shop/cart:80'];
      const { trace, dry } = await ask<TraceAnswer>('datapath-trace', ...args);
      assert.equal(trace.verdict, expected);
      // This data path cannot run a packet, and says so.
      assert.deepEqual(new Set(dry.byPlan.map(({ backend }) => backend)), new Set(['nftables']));
      const words = trace.branches[0]?.steps.findLast(({ direction }) => direction)?.text ?? '';
      assert.match(words, expected === 'allow' ? /NetworkPolicy shop\/from-web/ : /default deny ingress/);
      const live = await watched(ask<TraceAnswer>('datapath-trace', ...args, '--live', '4s'), async () => {
        const out = await curl(cluster, podOf(from));
        assert.equal(out.code === 0, expected === 'allow', out.stderr);
      });
      assert.ok(
        live.live?.some(({ verdict, text }) => verdict === expected && text === words),
        JSON.stringify(live.live),
      );
    }
  });

  await t.test('what the kernel has that it should not is named', async (t) => {
    await ask('datapath-verify', 'datapath', 'verify');
    const nft = nftOf(t, cluster, 'node-1');
    nft.run('add chain inet heddle by-hand');
    const outcome = await cluster.heddle('datapath', 'verify');
    assert.equal(outcome.code, 1);
    assert.match(outcome.stdout, /node-1 +foreign +chain by-hand/);
    nft.run('delete chain inet heddle by-hand');
  });

  await t.test('nodes go over to another backend and back', async () => {
    for (const backend of ['iptables', 'nftables']) {
      await ask('datapath-move', 'datapath', 'move', backend, '--dry-run');
      await ask('datapath-move', 'datapath', 'move', backend, '--anyway');
      const status = await ask<{ nodes: { backend: string }[] }>('datapath-status', 'datapath', 'status');
      assert.deepEqual(new Set(status.nodes.map((node) => node.backend)), new Set([backend]));
      await ask('datapath-verify', 'datapath', 'verify');
      assert.equal((await curl(cluster, podOf('web'))).code, 0);
    }
  });

  await t.test('under eBPF the loaded programs are asked, and say what the plan says', async () => {
    await ask('datapath-move', 'datapath', 'move', 'ebpf', '--anyway');
    for (const [from, expected] of [
      ['web', 'allow'],
      ['search', 'deny'],
    ] as const) {
      const args = ['datapath', 'trace', `shop/${podOf(from)}`, 'shop/cart:80'];
      const { dry } = await ask<TraceAnswer>('datapath-trace', ...args);
      assert.deepEqual([dry.byPlan, dry.differences], [[], []]);
      assert.ok(dry.ways.length > 0 && dry.ways.every(({ verdict }) => verdict === expected));
      const rule = expected === 'allow' ? /NetworkPolicy shop\/from-web/ : /default deny ingress/;
      assert.match(dry.ways[0]?.hops.at(-1)?.ingress ?? '', rule);
    }
    const mend = ['node-1', 'node-2'].map((node) => denyAll(cluster, node));
    const outcome = await cluster.heddle('datapath', 'trace', `shop/${podOf('web')}`, 'shop/cart:80');
    assert.equal(outcome.code, 1);
    assert.match(outcome.stdout, /✗ THE KERNEL DIFFERS FROM THE PLAN\n✗ node-\d +verdict\n +plan +allowed\n/);
    for (const one of mend) one();
    await ask('datapath-verify', 'datapath', 'verify');
    await ask('datapath-move', 'datapath', 'move', 'nftables', '--anyway');
  });

  await t.test('pods have their traffic in the metrics', async () => {
    const { code, stdout } = await cluster.heddle('get', 'pod', podOf('cart'), '-n', 'shop', '-o', 'json');
    assert.equal(code, 0);
    const node = (JSON.parse(stdout) as { spec: { nodeName: string } }).spec.nodeName;
    const read = async () => {
      const text = await metrics(cluster, node);
      const pattern = new RegExp(
        `^container_network_receive_packets_total\\{interface="eth0",namespace="shop",pod="${podOf('cart')}"\\} (\\d+)$`,
        'm',
      );
      assert.match(text, /^heddle_datapath_entries\{table="services"\} [1-9]/m);
      assert.match(text, /^heddle_datapath_apply_duration_seconds_count\{.*step="apply"\} [1-9]/m);
      assert.match(text, /^heddle_datapath_drops_total\{reason="policy"\} /m);
      return Number(pattern.exec(text)?.[1]);
    };
    const before = await read();
    assert.equal((await curl(cluster, podOf('web'))).code, 0);
    assert.ok((await read()) >= before + 3);
  });

  await t.test('nodes are tuned and given back; the machine is left alone', async () => {
    const machine = takeInventory()['sysctls'];
    const ns = openNetns(cluster.paths.netns('node-2'));
    const value = () => readSysctl(ns, 'net.ipv4.tcp_fastopen');
    const was = value();
    await ask('tune', 'tune', 'show');
    await ask('tune', 'tune', 'apply', '--profile', 'throughput', '--dry-run');
    assert.equal(value(), was);
    await ask('tune', 'tune', 'apply', '--profile', 'throughput');
    assert.equal(value(), '3');
    assert.match(
      await cluster.must('tune', 'show'),
      /node-2 +net\.ipv4\.tcp_fastopen +3 +3 +\d+ +cluster \w+ \(throughput\)/,
    );
    // In a namespace of its own the command is not where the machine's settings can be written.
    const tune = [join(root, 'heddle'), 'tune', '--data-dir', cluster.dataDir, 'apply', '--host'];
    const refused = await execute('unshare', ['-n', ...tune]);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /rmem_max = 134217728 cannot be set: it belongs to the whole machine.*\[TuningRefused\]/,
    );
    await ask('tune', 'tune', 'reset');
    assert.equal(value(), was);
    closeNetns(ns);
    assert.deepEqual(takeInventory()['sysctls'], machine);
  });
});

/** Makes every entry of policy in the kernel of the node a denial. Returns the way back. */
function denyAll({ paths }: LocalCluster, node: string): () => void {
  const fd = getPinned(join(paths.node(node).bpf, 'maps/policy_entries'));
  assert.ok(fd !== undefined);
  const map = openMap(fd);
  const entries = [...map.entries()].map(([key, value]) => [key.slice(), value.slice()] as const);
  for (const [key, value] of entries) {
    const changed = value.slice();
    // `verdict` of `struct policy_entry`: VERDICT_DENY.
    changed[8] = 1;
    map.update(key, changed);
  }
  return () => {
    for (const [key, value] of entries) map.update(key, value);
    map.close();
  };
}

const curl = (cluster: LocalCluster, pod: string) =>
  cluster.heddle(
    'exec',
    '-n',
    'shop',
    pod,
    '--',
    'curl',
    '-sS',
    '-o',
    '/dev/null',
    '--max-time',
    '2',
    'http://cart.shop/',
  );

/** Tries until the one who watches has seen it; he may not watch yet at the first try. */
async function watched<T>(watching: Promise<T>, act: () => Promise<void>): Promise<T> {
  const state = { done: false };
  const end = watching.finally(() => (state.done = true));
  while (!state.done) await act();
  return end;
}

function metrics(cluster: LocalCluster, node: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath: cluster.paths.node(node).agentSocket, path: '/metrics' }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('end', () => resolve(Buffer.concat(chunks).toString()));
    });
    req.on('error', reject);
    req.end();
  });
}

function nftOf(t: TestContext, { paths }: LocalCluster, node: string) {
  const ns = openNetns(paths.netns(node));
  const nft = openNft(ns);
  t.after(() => {
    nft.close();
    closeNetns(ns);
  });
  return nft;
}
