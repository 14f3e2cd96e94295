/** `heddle policy audit`: what audited policies would have decided otherwise, of what the cluster's nodes saw. */
import type { Command } from 'commander';
import type { AuditCount } from '../../observe/audit-count.ts';
import type { FlowAudit } from '../../observe/flow-event.ts';
import type { Agents, Answer } from '../datapath-nodes.ts';
import type { CliDeps } from '../deps.ts';
import { collect, outputFormat } from '../flags.ts';
import { answers, printValue } from './common.ts';
import { tableIn } from './render-graph.ts';

interface AuditFlags {
  dataDir: string;
  node?: string[];
  output?: string;
}

export interface AuditRow {
  readonly direction: AuditCount['direction'];
  readonly audit: AuditEnd;
  readonly enforced: AuditEnd;
  readonly packets: number;
  readonly bytes: number;
  readonly nodes: readonly { readonly node: string; readonly packets: number; readonly bytes: number }[];
}

interface AuditEnd {
  readonly verdict: 'allow' | 'deny';
  readonly rule: number;
  readonly text: string | null;
}

const FORMATS = ['text', 'json', 'yaml', 'csv', 'md'] as const;

const help = `
Examples:
  heddle policy audit
  heddle policy audit -o json

A policy is audited by the label heddle.dev/stage: audit, on it or on its namespace: it changes no verdict, and where it
would have decided, that is counted beside what did decide: packets of both directions since the two rules met on a
node. GET /flows of agents, "heddle datapath trace --live" and the demo tell it of each connection.

0 if nothing was seen that would be decided otherwise, 1 if something was.`;

export function addAudit(policy: Command, deps: CliDeps): void {
  policy
    .command('audit')
    .description('what audited policies would have denied or allowed, of what was seen')
    .option('--node <name>', 'of this node only; may be given again', collect)
    .option('-o, --output <format>', `${FORMATS.join(', ')} (docs/schemas/policy-audit.json)`)
    .addHelpText('after', help)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<AuditFlags>();
      const format = outputFormat(flags.output, FORMATS) ?? 'text';
      const { agentsOf } = await import('../datapath-nodes.ts');
      const rows = await gatherAudit(agentsOf(flags.dataDir, flags.node, deps));
      if (format === 'json' || format === 'yaml') await printValue({ rules: rows }, format, deps);
      else deps.stdout.write(auditText(format, rows));
      const otherwise = rows.some(({ audit, enforced, packets }) => packets > 0 && isOther(audit, enforced));
      process.exitCode = otherwise ? answers.no : answers.yes;
    });
}

const isOther = (audit: AuditEnd, enforced: AuditEnd): boolean => audit.verdict !== enforced.verdict;

export async function gatherAudit(agents: Pick<Agents, 'ask'>): Promise<AuditRow[]> {
  return sumUp(await agents.ask<AuditCount[]>('/policy/audit'));
}

/** Those that would be decided otherwise first, then by packets. */
export function sumUp(counts: readonly Answer<readonly AuditCount[]>[]): AuditRow[] {
  const rows = new Map<string, AuditRow>();
  for (const { node, answer } of counts)
    for (const { direction, audit, enforced, packets, bytes } of answer) {
      const key = `${enforced.rule} ${audit.rule}`;
      const known = rows.get(key);
      rows.set(key, {
        direction,
        audit: endOf(audit),
        enforced: endOf(enforced),
        packets: packets + (known?.packets ?? 0),
        bytes: bytes + (known?.bytes ?? 0),
        nodes: [...(known?.nodes ?? []), { node, packets, bytes }],
      });
    }
  const rank = ({ audit, enforced }: AuditRow) => (isOther(audit, enforced) ? 0 : 1);
  return [...rows.values()].sort((a, b) => rank(a) - rank(b) || b.packets - a.packets);
}

const endOf = ({ verdict, rule, text }: FlowAudit): AuditEnd => ({
  verdict,
  rule,
  text: text ?? null,
});

function auditText(format: 'text' | 'csv' | 'md', rows: readonly AuditRow[]): string {
  if (rows.length === 0 && format === 'text')
    return 'no policy is audited that selects a pod of these nodes\n';
  const words = ({ text, rule }: AuditEnd) => text ?? `rule ${rule.toString(16).padStart(8, '0')}`;
  return tableIn(
    format,
    ['WOULD', 'BY', 'NOW', 'BY', 'PACKETS', 'BYTES'],
    rows.map(({ audit, enforced, packets, bytes }) => [
      audit.verdict,
      words(audit),
      enforced.verdict,
      words(enforced),
      `${packets}`,
      `${bytes}`,
    ]),
  );
}
