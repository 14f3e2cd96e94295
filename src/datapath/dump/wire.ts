/** A node's plan on its way from an agent to the command line, as JSON. */
import { emptyState, type PlanState, TABLE_NAMES } from '../plan/tables.ts';
import type { NodeView } from './source.ts';

export interface NodeViewJson extends Omit<NodeView, 'state'> {
  /** Of each table its entries. */
  readonly state: Readonly<Record<string, readonly (readonly [string, unknown])[]>>;
}

export const viewToJson = ({ state, ...rest }: NodeView): NodeViewJson => ({
  ...rest,
  state: Object.fromEntries(TABLE_NAMES.map((table) => [table, [...state[table]]])),
});

/** Tables that an older agent does not know are empty. */
export function viewFromJson({ state, ...rest }: NodeViewJson): NodeView {
  const tables = emptyState();
  for (const name of TABLE_NAMES) {
    const table: Map<string, unknown> = tables[name];
    for (const [key, value] of state[name] ?? []) table.set(key, value);
  }
  return { ...rest, state: tables satisfies PlanState };
}
