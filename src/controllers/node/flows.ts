/** Records what the kernel says its rules decided, with the words for each rule. */
import type { PolicyEvent } from '../../datapath/backend.ts';
import type { Metrics } from '../../lib/metrics.ts';
import { decidedBy, NO_RULE } from '../../datapath/plan/pairs.ts';
import { protocolName } from '../../lib/protocols.ts';
import type { FlowEvent } from '../../observe/flow-event.ts';
import type { FlowLog } from '../../observe/flow-log.ts';
import type { RuleInfo } from '../../policy/tables.ts';

export interface FlowsDeps {
  readonly flowLog: FlowLog;
  rule(number: number): RuleInfo | undefined;
  /** Records that the kernel could not deliver since the start. */
  lost(): number;
  readonly metrics: Metrics;
}

type Told = Omit<FlowEvent, 'seq' | 'node'>;

export function createFlowRecorder(deps: FlowsDeps): { take(events: readonly PolicyEvent[]): void } {
  const { flowLog, metrics } = deps;
  const seen = metrics.counter('heddle_flow_events_total', 'Records of the kernel about decided flows.');
  const missed = metrics.counter(
    'heddle_flow_events_lost_total',
    'Records that the kernel could not deliver.',
  );
  const audited = metrics.counter(
    'heddle_flow_events_audited_total',
    'Of those records, the ones of flows that another rule would decide if audited policies were enforced.',
  );
  let lost = 0;

  const textOf = (rule: number): string | undefined => (rule === 0 ? NO_RULE : deps.rule(rule)?.text);

  function told({ protocol, reply: _reply, family: _family, ...event }: PolicyEvent): Told {
    const { rule, audit } = decidedBy(event.rule, deps.rule);
    if (audit) audited.inc({ verdict: event.verdict, audit: audit.verdict, direction: event.direction });
    return {
      ...event,
      rule,
      protocol: protocolName(protocol),
      text: textOf(rule),
      ...(audit ? { audit: { ...audit, text: textOf(audit.rule) } } : {}),
    };
  }

  return {
    take(events) {
      flowLog.add(events.map(told));
      for (const { verdict, direction } of events) seen.inc({ verdict, direction });
      const now = deps.lost();
      if (now === lost) return;
      flowLog.kernelLost(now - lost);
      missed.inc({}, now - lost);
      lost = now;
    },
  };
}
