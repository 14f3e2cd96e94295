import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyEvent } from '../../datapath/backend.ts';
import { createMetrics } from '../../lib/metrics.ts';
import { createFlowLog } from '../../observe/flow-log.ts';
import type { RuleInfo } from '../../policy/tables.ts';
import { createFlowRecorder } from './flows.ts';

const event: PolicyEvent = {
  time: 1,
  rule: 7,
  verdict: 'deny',
  direction: 'ingress',
  family: 4,
  src: '10.0.0.1',
  dst: '10.0.0.2',
  protocol: 17,
  sport: 1000,
  dport: 53,
  reply: false,
};

test('an event is kept with its protocol’s name and the words of its rule, and counted', () => {
  const flowLog = createFlowLog({ node: 'n' });
  const metrics = createMetrics();
  const info = {
    number: 7,
    verdict: 'deny',
    direction: 'ingress',
    origin: { default: [] },
    text: 'default deny',
  } as const;
  const recorder = createFlowRecorder({
    flowLog,
    rule: (n) => (n === 7 ? info : undefined),
    lost: () => 3,
    metrics,
  });
  recorder.take([event, { ...event, rule: 8, protocol: 99 }]);
  const { events, lost } = flowLog.since(0);
  assert.deepEqual(
    events.map(({ protocol, text }) => [protocol, text]),
    [
      ['UDP', 'default deny'],
      ['99', undefined],
    ],
  );
  assert.equal(lost, 3);
  assert.match(metrics.text(), /heddle_flow_events_total\{direction="ingress",verdict="deny"\} 2/);
  assert.match(metrics.text(), /heddle_flow_events_lost_total 3/);
});

test('what is audited is told with its rule, also where no enforced rule decides', () => {
  const flowLog = createFlowLog({ node: 'n' });
  const metrics = createMetrics();
  const info = (number: number, text: string, more: Partial<RuleInfo> = {}): RuleInfo => ({
    number,
    verdict: 'deny',
    direction: 'ingress',
    origin: { default: [] },
    text,
    ...more,
  });
  const rules = new Map([
    [7, info(7, 'default deny')],
    [8, info(8, '', { verdict: 'audit-deny', pair: { rule: 0, audit: { verdict: 'deny', rule: 7 } } })],
  ]);
  const recorder = createFlowRecorder({ flowLog, rule: (n) => rules.get(n), lost: () => 0, metrics });
  recorder.take([{ ...event, rule: 8, verdict: 'allow' }]);
  const [told] = flowLog.since(0).events;
  assert.deepEqual(
    [told?.verdict, told?.rule, told?.text, told?.audit],
    ['allow', 0, 'no rule decides', { verdict: 'deny', rule: 7, text: 'default deny' }],
  );
  assert.match(
    metrics.text(),
    /heddle_flow_events_audited_total\{audit="deny",direction="ingress",verdict="allow"\} 1/,
  );
});
