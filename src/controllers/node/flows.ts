/** Records what the kernel says its rules decided, with the words for each rule. */
import type { PolicyEvent } from '../../datapath/backend.ts';
import type { Metrics } from '../../lib/metrics.ts';
import { protocolName } from '../../lib/protocols.ts';
import type { FlowLog } from '../../observe/flow-log.ts';
import type { RuleInfo } from '../../policy/tables.ts';

export interface FlowsDeps {
  readonly flowLog: FlowLog;
  rule(number: number): RuleInfo | undefined;
  /** Records that the kernel could not deliver since the start. */
  lost(): number;
  readonly metrics: Metrics;
}

export function createFlowRecorder(deps: FlowsDeps): { take(events: readonly PolicyEvent[]): void } {
  const { flowLog, metrics } = deps;
  const seen = metrics.counter('heddle_flow_events_total', 'Records of the kernel about decided flows.');
  const missed = metrics.counter(
    'heddle_flow_events_lost_total',
    'Records that the kernel could not deliver.',
  );
  let lost = 0;
  return {
    take(events) {
      flowLog.add(
        events.map(({ protocol, reply: _reply, family: _family, ...event }) => ({
          ...event,
          protocol: protocolName(protocol),
          text: deps.rule(event.rule)?.text,
        })),
      );
      for (const { verdict, direction } of events) seen.inc({ verdict, direction });
      const now = deps.lost();
      if (now === lost) return;
      flowLog.kernelLost(now - lost);
      missed.inc({}, now - lost);
      lost = now;
    },
  };
}
