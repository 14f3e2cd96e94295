/** Who reaches whom, as a table, a list for programs, or a drawing. */
import type { Labelled } from './draw.ts';
import { drawDot, drawSvg } from './draw.ts';
import { plainTable } from '../plain-table.ts';

/** A row of the answer. `cells` are for tables; `src` and `dst` for drawings. */
export interface GraphRow {
  readonly src: string;
  readonly dst: string;
  readonly label: string;
  readonly group: { readonly src: string | undefined; readonly dst: string | undefined };
  /** Drawn so: what came is green, what went is red and dashed. */
  readonly change?: 'added' | 'removed' | 'changed' | undefined;
}

export function textTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return `${plainTable([head, ...rows]).join('\n')}\n`;
}

/** RFC 4180. */
export function csvTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (text: string) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [head, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |\n`;
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('');
}

export const tableIn = (
  format: 'text' | 'csv' | 'md',
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string => {
  if (format === 'csv')
    return csvTable(
      head.map((word) => word.toLowerCase()),
      rows,
    );
  return format === 'md'
    ? markdownTable(
        head.map((word) => word.toLowerCase()),
        rows,
      )
    : textTable(head, rows);
};

export function drawing(format: 'dot' | 'svg', rows: readonly GraphRow[]): string {
  const nodes = new Map<string, string | undefined>();
  const edges: Labelled[] = [];
  for (const { src, dst, label, group, change } of rows) {
    nodes.set(src, group.src);
    nodes.set(dst, group.dst);
    edges.push({ from: src, to: dst, label, change });
  }
  const graph = { nodes: [...nodes].map(([name, group]) => ({ name, group })), edges };
  return format === 'dot' ? drawDot(graph) : drawSvg(graph);
}
