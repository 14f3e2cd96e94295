/** `heddle datapath status`: which backend a node runs and why, what it can, what it has done. */
import type { Agents } from './datapath-nodes.ts';
import { plainTable } from './plain-table.ts';

export interface DatapathRow {
  readonly node: string;
  readonly backend: string;
  /** `configured`: what the cluster was started with; `moved`: this node was moved from it. */
  readonly chosen: 'configured' | 'moved';
  readonly configured: string;
  readonly features: Readonly<Record<string, boolean>>;
  readonly ready: boolean;
  readonly applied: number;
  readonly failed: number;
  /** What the first convergence had to mend. */
  readonly mended: number;
  readonly lastError: string | null;
  readonly entries: Readonly<Record<string, number>>;
  /** What objects ask for and this data path does not do. */
  readonly problems: readonly string[];
  /** Pods that wanted more connections than their share in the last seconds, the heaviest first. */
  readonly beyondShare: readonly PodUse[];
  /** Tables of fixed size. */
  readonly maps: readonly MapUse[];
}

interface MapUse {
  readonly name: string;
  /** Entries that it may have. */
  readonly max: number;
  /** Of the kernel's memory. */
  readonly bytes: number;
}

interface PodUse {
  /** `namespace/name` */
  readonly pod: string;
  /** How much of its share it has, 0 to 1. */
  readonly share: number;
  readonly begun: number;
  readonly crowded: number;
  readonly gaveWay: number;
  readonly refused: number;
}

interface AgentStatus {
  readonly datapath: {
    readonly backend: string;
    readonly ready: boolean;
    readonly applied: number;
    readonly failed: number;
    readonly mended: readonly unknown[];
    readonly lastError?: string;
    readonly entries: Readonly<Record<string, number>>;
    readonly problems: readonly string[];
    /** Absent from agents of earlier versions. */
    readonly beyondShare?: readonly PodUse[];
    readonly maps?: readonly MapUse[];
    readonly policy: boolean;
    readonly cutsEstablished: boolean;
    readonly sessionAffinity: boolean;
  };
}

export async function statusRows(agents: Agents): Promise<DatapathRow[]> {
  const configured = agents.config.datapath;
  const answers = await agents.ask<AgentStatus>('/status');
  return answers.map(({ node, answer: { datapath } }) => ({
    node,
    backend: datapath.backend,
    chosen: datapath.backend === configured ? 'configured' : 'moved',
    configured,
    features: {
      policy: datapath.policy,
      cutsEstablished: datapath.cutsEstablished,
      sessionAffinity: datapath.sessionAffinity,
    },
    ready: datapath.ready,
    applied: datapath.applied,
    failed: datapath.failed,
    mended: datapath.mended.length,
    lastError: datapath.lastError ?? null,
    entries: datapath.entries,
    problems: datapath.problems,
    beyondShare: datapath.beyondShare ?? [],
    maps: datapath.maps ?? [],
  }));
}

/** What limits how many connections a node knows at once. */
const TOLD = ['flows4', 'nat4', 'udp_sessions'];

function mapLines(rows: readonly DatapathRow[]): string[] {
  return rows.flatMap(({ node, maps }) => {
    const told = TOLD.flatMap((name) => maps.filter((map) => map.name === name));
    if (told.length === 0) return [];
    const megabytes = maps.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6;
    const sizes = told.map(({ name, max }) => `${name} ${max}`).join(', ');
    return [`${node}: ${maps.length} maps take ${megabytes.toFixed(1)} MB; entries at most: ${sizes}`];
  });
}

export function statusText(rows: readonly DatapathRow[]): string {
  const names = [...new Set(rows.flatMap(({ entries }) => Object.keys(entries)))].filter(
    (name) => name !== 'settings',
  );
  const lines = plainTable([
    [
      'NODE',
      'BACKEND',
      'WHY',
      'READY',
      'APPLIED',
      'FAILED',
      'MENDED',
      ...names.map((name) => name.toUpperCase()),
    ],
    ...rows.map((row) => [
      row.node,
      row.backend,
      row.chosen === 'configured' ? 'the cluster’s' : `moved from ${row.configured}`,
      row.ready ? 'yes' : 'no',
      row.applied,
      row.failed,
      row.mended,
      ...names.map((name) => row.entries[name] ?? 0),
    ]),
  ]);
  lines.push(...mapLines(rows));
  for (const { node, lastError } of rows) if (lastError) lines.push(`${node}: last error: ${lastError}`);
  for (const { node, beyondShare } of rows)
    for (const use of beyondShare)
      lines.push(
        `${node}: ${use.pod} wants more connections than its share: ${use.begun} begun, ${use.crowded} beyond it, ` +
          `${use.gaveWay} gave way to newer ones, ${use.refused} refused`,
      );
  const problems = new Set(rows.flatMap((row) => row.problems));
  if (problems.size > 0)
    lines.push('', 'asked for, and not done:', ...[...problems].map((each) => `  ${each}`));
  return `${lines.join('\n')}\n`;
}
