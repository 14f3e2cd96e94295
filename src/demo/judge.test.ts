import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkPolicy } from '../api/types.ts';
import type { FlowEvent } from '../observe/flow-event.ts';
import { createDecider, decide } from '../policy/decide.ts';
import type { World } from '../policy/world.ts';
import type { Attempt, DemoPod, Workload } from './attempts.ts';
import { type Observation, judge as judgeWith } from './judge.ts';
import { matrix, plain, table } from './table.ts';

const pod = (name: string, address: string): DemoPod => ({
  namespace: 'shop',
  name,
  node: 'node-1',
  addresses: [address],
  ports: [{ port: 80, protocol: 'TCP' }],
});
const [web, api] = [pod('web', '10.244.0.1'), pod('api', '10.244.0.2')];
const workload = (of: DemoPod): Workload => ({ key: `shop/${of.name}`, namespace: 'shop', pods: [of] });
const attempt: Attempt = {
  from: workload(web),
  to: workload(api),
  source: web,
  host: 'api.shop.svc.cluster.local',
  label: 'api.shop',
  family: 4,
  port: 8080,
  protocol: 'TCP',
  backends: [{ pod: api, address: '10.244.0.2', port: 80 }],
};

const policy = (ingress: unknown[]): NetworkPolicy =>
  ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: { podSelector: { matchLabels: { app: 'api' } }, policyTypes: ['Ingress'], ingress },
  }) as NetworkPolicy;

const world = (policies: NetworkPolicy[]): World => ({
  pods: [web, api].map(({ namespace, name, node, addresses, ports }) => ({
    namespace,
    name,
    node,
    addresses,
    ports,
    labels: { app: name },
  })),
  namespaces: [],
  nodes: [],
  policies,
});

const allowed: Observation = {
  connected: true,
  latencyUs: 300,
  responder: 'shop/api',
  peerSeen: '10.244.0.1',
  events: [],
};
const timedOut: Observation = { connected: false, error: 'timed out', events: [] };
const event = (rule: number, verdict: 'allow' | 'deny'): FlowEvent => ({
  seq: 1,
  node: 'node-1',
  time: 0,
  verdict,
  direction: 'ingress',
  rule,
  text: `rule of ${verdict}`,
  protocol: 'TCP',
  src: '10.244.0.1',
  dst: '10.244.0.2',
  sport: 40_000,
  dport: 80,
});

const ruleOf = (w: World): number =>
  decide(w, { src: { pod: 'shop/web' }, dst: { pod: 'shop/api' }, protocol: 'TCP', port: 80 }).ingress
    .ruleNumber;

test('a request that was denied at one backend and sent again may end at another, who answers', () => {
  const w = world([policy([])]);
  const own = {
    ...attempt,
    to: workload(web),
    backends: [{ pod: web, address: '10.244.0.1', port: 80 }, ...attempt.backends],
  };
  const again: Observation = { ...allowed, responder: 'shop/web', events: [event(ruleOf(w), 'deny')] };
  const judgement = judgeWith(createDecider(w), own, again);
  assert.deepEqual(judgement.problems, []);
  assert.equal(judgement.by, 'a pod to itself');
  const broken = judgeWith(createDecider(w), own, { ...again, responder: 'shop/api' });
  assert.deepEqual(broken.problems, ['the policies say denied, the network says allowed']);
});

const judge = (w: World, tried: Attempt, observation: Observation) =>
  judgeWith(createDecider(w), tried, observation);

const open = world([]);
const closed = world([policy([])]);
const allowing = world([policy([{}])]);

test('a connection that no policy touches holds without a record', () => {
  const judgement = judge(open, attempt, allowed);
  assert.deepEqual(
    [judgement.observed, judgement.problems, judgement.by],
    ['allowed', [], 'no policy selects it'],
  );
});

test('an allowed connection holds when the kernel named the rule that decides', () => {
  const observation = { ...allowed, events: [event(ruleOf(allowing), 'allow')] };
  assert.deepEqual(judge(allowing, attempt, observation).problems, []);
});

test('a denied connection holds when the kernel named the default deny', () => {
  const judgement = judge(closed, attempt, { ...timedOut, events: [event(ruleOf(closed), 'deny')] });
  assert.deepEqual([judgement.observed, judgement.problems, judgement.by], ['denied', [], 'rule of deny']);
});

for (const [what, inWorld, observation, expected] of [
  [
    'a connection that passes against the policies',
    closed,
    allowed,
    /policies say denied, the network says allowed/,
  ],
  ['a timeout without a record', closed, timedOut, /policies say denied, the network says unexplained/],
  [
    'a timeout that no policy explains',
    open,
    timedOut,
    /policies say allowed, the network says unexplained \(timed out\)/,
  ],
  [
    'a denial that the policies do not know',
    open,
    { ...timedOut, events: [event(7, 'deny')] },
    /say allowed, the network says denied/,
  ],
  [
    'another rule than the deciding one',
    allowing,
    { ...allowed, events: [event(7, 'allow')] },
    /ingress: the kernel named rule of allow/,
  ],
  ['no record where a rule decided', allowing, allowed, /ingress: the kernel named no rule/],
  [
    'a record where no policy isolates',
    open,
    { ...allowed, events: [event(7, 'allow')] },
    /the policies say no rule/,
  ],
  [
    'a rewritten source address',
    open,
    { ...allowed, peerSeen: '10.240.0.11' },
    /source address was not preserved: 10.240.0.11/,
  ],
] as const)
  test(`${what} is a mismatch`, () => {
    const { problems } = judge(inWorld, attempt, observation);
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? '', expected);
  });

test('the table joins families that fared alike and marks mismatches', () => {
  const v6 = { ...attempt, family: 6 as const };
  const judgements = [
    judge(open, attempt, allowed),
    judge(open, v6, allowed),
    judge(closed, attempt, allowed),
  ];
  const lines = table(judgements, plain).split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[1] ?? '', /shop\/web {2}shop\/api {2}api\.shop:8080\/TCP v4\+v6 {2}allowed .*0\.30 ms/);
  assert.match(lines[2] ?? '', /allowed !/);
  assert.match(matrix(judgements), /shop\/web\s+!/);
});

test('what the kernel says of audited policies is held against them too', () => {
  const audited = world([
    { ...policy([]), metadata: { name: 'p', namespace: 'shop', labels: { 'heddle.dev/stage': 'audit' } } },
  ]);
  const { rule, verdict } = auditOf(audited);
  const told = { ...event(0, 'allow'), text: 'no rule decides', audit: { verdict, rule, text: 'p' } };
  const judgement = judge(audited, attempt, { ...allowed, events: [told] });
  assert.deepEqual([judgement.problems, judgement.by], [[], 'no rule decides; audited: deny by p']);
  const { audit: _, ...silent } = told;
  assert.match(
    judge(audited, attempt, { ...allowed, events: [silent] }).problems.join(),
    /of audited policies/,
  );
});

function auditOf(w: World) {
  const flow = { src: { pod: 'shop/web' }, dst: { pod: 'shop/api' }, protocol: 'TCP', port: 80 } as const;
  const { audit } = decide(w, flow).ingress;
  return { verdict: audit.verdict, rule: audit.ruleNumber };
}
