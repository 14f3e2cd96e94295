/** What one enforcement point says of a packet, and why. */
import { parseAddress } from '../../lib/ip.ts';
import { findEntry } from '../../policy/lookup.ts';
import type { Protocol } from '../../policy/world.ts';
import { createIdentify } from '../dump/members.ts';
import { hex, type NodeView } from '../dump/source.ts';
import { NO_RULE } from '../plan/pairs.ts';
import { SETTINGS_KEY } from '../plan/tables.ts';
import type { StepAudit } from './result.ts';

export interface Judgement {
  readonly verdict: 'allow' | 'deny';
  readonly text: string;
  /** Number of the policy table; 0 where none applies. */
  readonly table: number;
  /** Of the peer, as this node knows it. */
  readonly identity: number;
  /** Number of the deciding rule or default deny; 0 where none decides. */
  readonly rule: number;
  /** What would decide if audited policies were enforced, where that is another rule. */
  readonly audit?: StepAudit;
}

export interface Question {
  readonly direction: 'ingress' | 'egress';
  /** Address of the pod at which policy is enforced. */
  readonly pod: string;
  readonly peer: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export function judge(view: NodeView, question: Question): Judgement {
  const { direction, pod, peer, protocol, port } = question;
  const { state } = view;
  const identity = createIdentify(view)(parseAddress(peer));
  const settings = state.settings.get(SETTINGS_KEY);
  const allow = (text: string): Judgement => ({ verdict: 'allow', text, table: 0, identity, rule: 0 });
  const endpoint = state.endpoints.get(pod);
  if (!endpoint) return allow(`no policy is enforced at ${pod}`);
  if (pod === peer) return allow('a pod may always reach itself');
  if ([...(settings?.nodeAddresses ?? []), ...(settings?.nodeLocal ?? [])].includes(peer))
    return allow('a pod and its own node may always reach each other');
  const number = endpoint[direction];
  const table = state.policies.get(String(number));
  if (number === 0 || !table) return allow(`no policy selects the pod for ${direction}`);
  const entry = findEntry(table, identity, { src: pod, dst: peer, protocol, port });
  const rule = entry?.rule ?? table.defaultRule;
  const wordsOf = (one: number): string =>
    one === 0 ? NO_RULE : (state.rules.get(String(one))?.text ?? `rule ${hex(one)}`);
  const audit = entry?.audit
    ? {
        audit: {
          verdict: entry.audit.verdict,
          rule: entry.audit.rule,
          text: wordsOf(entry.audit.rule),
        },
      }
    : {};
  if (rule === 0) return { ...allow(`${NO_RULE}, and no policy isolates the pod`), table: number, ...audit };
  const verdict = entry && entry.verdict !== 'deny' ? 'allow' : 'deny';
  return { verdict, text: wordsOf(rule), table: number, identity, rule, ...audit };
}
