import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFakeBackend } from '../../datapath/fake.ts';
import { emptyState } from '../../datapath/plan/tables.ts';
import { createMetrics } from '../../lib/metrics.ts';
import type { RuleInfo } from '../../policy/tables.ts';
import { exposeDatapath, type PodTraffic } from './datapath-metrics.ts';

const traffic = (packets: number) => ({ packets, bytes: packets * 100, errors: 0, dropped: 1 });

function setUp() {
  const metrics = createMetrics();
  const backend = createFakeBackend();
  const state = emptyState();
  let pods: PodTraffic[] = [
    { namespace: 'shop', name: 'web', interface: 'eth0', received: traffic(3), transmitted: traffic(4) },
  ];
  const rules = new Map<number, RuleInfo>(
    (['allow', 'deny'] as const).map((verdict, i) => [
      i + 1,
      { number: i + 1, verdict, direction: 'ingress', origin: { default: [] }, text: '' },
    ]),
  );
  const exposed = exposeDatapath(metrics, {
    backend: Object.assign(backend, {
      pressure: () => [{ name: 'flows4', entries: 50, max: 200 }],
      drops: () => new Map([['spoofed', { packets: 7, bytes: 0 }]]),
    }),
    state: () => state,
    rule: (number) => rules.get(number),
    podTraffic: () => Promise.resolve(pods),
    kernelTracking: () => ({ name: 'nf_conntrack', entries: 10, max: undefined }),
  });
  return { metrics, backend, state, exposed, setPods: (next: PodTraffic[]) => (pods = next) };
}

const line = (text: string, start: string) => text.split('\n').find((each) => each.startsWith(start));

test('pods are counted under the names of the field, and gone when they are', async () => {
  const { metrics, setPods, exposed } = setUp();
  await exposed.refresh();
  const labels = '{interface="eth0",namespace="shop",pod="web"}';
  const text = metrics.text();
  assert.equal(
    line(text, 'container_network_receive_packets_total{'),
    `container_network_receive_packets_total${labels} 3`,
  );
  assert.equal(
    line(text, 'container_network_transmit_bytes_total{'),
    `container_network_transmit_bytes_total${labels} 400`,
  );
  assert.ok(text.includes('container_network_receive_packets_dropped_total'));
  setPods([]);
  await exposed.refresh();
  assert.equal(line(metrics.text(), 'container_network_receive_packets_total{'), undefined);
});

test('tables, fullness and drops are what plan, backend and kernel say', async () => {
  const { metrics, backend, state, exposed } = setUp();
  state.identities.set('10.0.0.0/8', 1);
  backend.setCounter(1, { packets: 100, bytes: 1000 });
  backend.setCounter(2, { packets: 5, bytes: 50 });
  await exposed.refresh();
  const text = metrics.text();
  for (const expected of [
    'heddle_datapath_info{backend="fake"} 1',
    'heddle_datapath_entries{table="identities"} 1',
    'heddle_datapath_map_pressure{map="flows4"} 0.25',
    'heddle_datapath_map_entries{map="nf_conntrack"} 10',
    'heddle_datapath_flow_entries 60',
    'heddle_datapath_policy_packets_total{direction="ingress",verdict="allow"} 100',
    'heddle_datapath_drops_total{reason="policy"} 5',
    'heddle_datapath_drops_total{reason="spoofed"} 7',
  ])
    assert.ok(text.includes(`${expected}\n`), expected);
  assert.ok(!text.includes('heddle_datapath_map_pressure{map="nf_conntrack"}'));
});

test('what the backend was given is counted', () => {
  const { metrics, exposed } = setUp();
  exposed.record({ step: 'prune', ms: 3, differences: [{ kind: 'missing', what: 'x' }] });
  const change = { table: 'identities', key: '10.0.0.0/8', value: 2 } as const;
  exposed.record({ step: 'apply', ms: 0.3, sinceHeard: 0.7, changes: [change] });
  exposed.record({ step: 'failed' });
  const text = metrics.text();
  assert.match(text, /heddle_datapath_mended_total\{kind="missing"\} 1\n/);
  assert.match(text, /heddle_datapath_changes_total\{table="identities"\} 1\n/);
  assert.match(text, /heddle_datapath_failures_total 1\n/);
  assert.match(text, /change_delay_seconds_bucket\{backend="fake",le="0\.001"\} 1\n/);
  assert.match(text, /apply_duration_seconds_bucket\{backend="fake",step="apply",le="0\.0005"\} 1\n/);
});
