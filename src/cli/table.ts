/** Server-side tables (meta.k8s.io/v1 Table) as text, in kubectl's columns. */
import type { KubeObject } from '../api/types.ts';

export interface TableColumn {
  readonly name: string;
  readonly type: string;
  readonly priority: number;
}

export interface TableRow {
  readonly cells: readonly unknown[];
  readonly object: KubeObject;
}

export interface Table {
  readonly columnDefinitions: readonly TableColumn[];
  readonly rows: readonly TableRow[];
}

export const TABLE_TYPE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';

export interface TableStyle {
  readonly wide?: boolean;
  /** A first column with the namespaces. */
  readonly namespaces?: boolean;
  readonly labels?: boolean;
  readonly headers?: boolean;
  /** Put before each name: `pod/` when several kinds are shown. */
  readonly prefix?: string;
}

/** Lines of the table, the header first. */
export function tableLines(table: Table, style: TableStyle): string[] {
  const chosen = table.columnDefinitions.flatMap((column, index) =>
    column.priority === 0 || style.wide ? [{ column, index }] : [],
  );
  const header = chosen.map(({ column }) => column.name.toUpperCase());
  const rows = table.rows.map((row) => {
    const cells = chosen.map(({ column, index }) => {
      const cell = cellText(row.cells[index]);
      return column.name === 'Name' ? `${style.prefix ?? ''}${cell}` : cell;
    });
    if (style.namespaces) cells.unshift(row.object?.metadata?.namespace ?? '');
    if (style.labels) cells.push(labelsText(row.object?.metadata?.labels));
    return cells;
  });
  if (style.namespaces) header.unshift('NAMESPACE');
  if (style.labels) header.push('LABELS');
  return aligned(style.headers === false ? rows : [header, ...rows]);
}

/** Control characters come from the cluster's objects: they must not reach a terminal. */
function cellText(cell: unknown): string {
  const text =
    typeof cell === 'string' ? cell : cell === null || cell === undefined ? '' : JSON.stringify(cell);
  const newline = text.search(/[\r\n]/);
  const line = newline < 0 ? text : `${text.slice(0, newline)}...`;
  return line.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

const labelsText = (labels: Record<string, string> | undefined): string =>
  Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(',') || '<none>';

const GAP = '   ';

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join(GAP)
      .trimEnd(),
  );
}
