import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkPolicy } from '../api/types.ts';
import { parseCidr } from '../lib/ip.ts';
import type { FlowEvent } from '../observe/flow-event.ts';
import { createDecider } from '../policy/decide.ts';
import type { World } from '../policy/world.ts';
import type { DemoPod, Workload } from './attempts.ts';
import { judge } from './judge.ts';
import { outsideAttempts } from './outside.ts';

const pod = (name: string, ...addresses: string[]): DemoPod => ({
  namespace: 'shop',
  name,
  node: 'node-1',
  addresses,
  ports: [],
});
const [web, api] = [pod('web', '10.244.0.1', 'fd00::1'), pod('api', '10.244.0.2', 'fd00::2')];
const workloads = [web, api].map(
  (of): Workload => ({ key: `shop/${of.name}`, namespace: 'shop', pods: [of] }),
);

const policy: NetworkPolicy = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'p', namespace: 'shop' },
  spec: {
    podSelector: { matchLabels: { app: 'web' } },
    policyTypes: ['Egress'],
    egress: [
      {
        to: [
          { ipBlock: { cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '198.51.100.0/24', '10.244.0.0/16'] } },
          { ipBlock: { cidr: '2001:db8:5::/48' } },
        ],
        ports: [{ port: 8443 }],
      },
    ],
  },
};

const world: World = {
  pods: [web, api].map((each) => ({ ...each, labels: { app: each.name }, ports: [] })),
  namespaces: [],
  nodes: [],
  policies: [policy],
};
const decide = createDecider(world);
const all = outsideAttempts(workloads, { policies: [policy] }, [parseCidr('10.244.0.0/16')], decide);

test('every range and every exception is tried once from each restricted pod, and nothing of the cluster', () => {
  assert.deepEqual(
    all.map(({ source, host, port }) => `${source.name} ${host} ${port}`),
    ['web 203.0.113.1 8443', 'web 10.0.0.1 8443', 'web 198.51.100.1 8443', 'web 2001:db8:5::1 8443'],
  );
});

test('a pod is asked to reach what is of its own family', () => {
  const alone = [{ key: 'shop/web', namespace: 'shop', pods: [{ ...web, addresses: ['fd00::1'] }] }];
  assert.deepEqual(
    outsideAttempts(alone, { policies: [policy] }, [], decide).map(({ host }) => host),
    ['2001:db8:5::1'],
  );
});

const [open, closed] = all;
assert.ok(open && closed);
const egress = (host: string): number =>
  decide({ src: { pod: 'shop/web' }, dst: { address: host }, protocol: 'TCP', port: 8443 }).egress.ruleNumber;
const event = (verdict: 'allow' | 'deny', rule: number): FlowEvent => ({
  seq: 1,
  node: 'node-1',
  time: 0,
  verdict,
  direction: 'egress',
  rule,
  protocol: 'TCP',
  src: '10.244.0.1',
  dst: '203.0.113.1',
  sport: 1,
  dport: 8443,
});
const failed = { connected: false, error: 'connect EHOSTUNREACH' };

test('a connection that the kernel let out holds, though nobody answers', () => {
  const judgement = judge(decide, open, { ...failed, events: [event('allow', egress(open.host))] });
  assert.deepEqual([judgement.observed, judgement.problems], ['allowed', []]);
});

test('a denied exception holds by its default deny', () => {
  const judgement = judge(decide, closed, { ...failed, events: [event('deny', egress(closed.host))] });
  assert.deepEqual([judgement.observed, judgement.problems], ['denied', []]);
});

test('without a record nothing is believed', () => {
  assert.match(
    judge(decide, open, { ...failed, events: [] }).problems.join(),
    /allowed, the network says unexplained/,
  );
  assert.match(
    judge(decide, open, { ...failed, events: [event('deny', 7)] }).problems.join(),
    /the policies say allowed, the network says denied/,
  );
});
