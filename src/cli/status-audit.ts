/** What `heddle status` says of audited policies: how much of what was seen they would decide otherwise. */
import type { ClusterPaths } from '../cluster/paths.ts';
import { callSocket } from '../lib/unix-http.ts';
import type { AuditCount } from '../observe/audit-count.ts';

export interface AuditSummary {
  /** Pairs of rules (of what is audited, of what decides now) that met on a node. */
  readonly rules: number;
  /** Packets that pass, and would not. */
  readonly wouldDeny: number;
  /** Packets that do not, and would. */
  readonly wouldAllow: number;
}

/** Of the nodes that answer; null if none does. */
export async function askAudit(
  paths: Pick<ClusterPaths, 'node'>,
  nodes: readonly string[],
): Promise<AuditSummary | null> {
  const answers = await Promise.all(
    nodes.map((node) => {
      const call = { socketPath: paths.node(node).agentSocket, path: '/policy/audit', timeoutMs: 3000 };
      return callSocket<AuditCount[]>(call).catch(() => undefined);
    }),
  );
  const known = answers.filter((answer) => answer !== undefined);
  return known.length === 0 ? null : sumAudit(known.flat());
}

export function sumAudit(counts: readonly AuditCount[]): AuditSummary {
  const otherwise = counts.filter(({ audit, enforced }) => audit.verdict !== enforced.verdict);
  const packets = (verdict: 'allow' | 'deny') =>
    otherwise.filter(({ audit }) => audit.verdict === verdict).reduce((sum, count) => sum + count.packets, 0);
  return {
    rules: new Set(counts.map(({ audit, enforced }) => `${audit.rule} ${enforced.rule}`)).size,
    wouldDeny: packets('deny'),
    wouldAllow: packets('allow'),
  };
}

/** Undefined where nothing is audited. */
export function auditLine(audit: AuditSummary | null): string | undefined {
  if (!audit || audit.rules === 0) return undefined;
  const { wouldDeny, wouldAllow } = audit;
  const parts = [
    ...(wouldDeny > 0 ? [`${packetsText(wouldDeny)} would be denied`] : []),
    ...(wouldAllow > 0 ? [`${packetsText(wouldAllow)} would be allowed`] : []),
  ];
  const said = parts.length > 0 ? parts.join(', ') : 'nothing seen would be decided otherwise';
  return `audit     if what is audited were enforced: ${said}; "heddle policy audit" says by which rules`;
}

const packetsText = (count: number): string => (count === 1 ? '1 packet' : `${count} packets`);
