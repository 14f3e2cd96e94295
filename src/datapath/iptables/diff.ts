/** Two states of the tables → input of iptables-restore --noflush that turns the first into the second. */
import { type Edit as EditOf, edits as editsOf } from '../held.ts';
import {
  BAGS,
  type Chain,
  equal,
  type Family,
  type Rule,
  type TableObject,
  type TableState,
} from './objects.ts';

export type Edit = EditOf<TableObject>;

/** Only what differs. */
export const edits = (before: TableState, after: TableState): Edit[] => editsOf({ equal }, before, after);

/**
 * By family, each table one transaction. Nothing is led to before it is there, nor removed while something leads
 * to it.
 * @param wanted all that should be there: a chain of `BAGS` that is not as it should be is written whole
 */
export function restoreInput(list: readonly Edit[], wanted: TableState): Map<Family, string> {
  const byFamily = Map.groupBy(list, ({ before, after }) => (after ?? before)?.family ?? 4);
  return new Map([...byFamily].map(([family, edit]) => [family, familyInput(edit, wanted)]));
}

function familyInput(list: readonly Edit[], wanted: TableState): string {
  const byTable = Map.groupBy(list, ({ before, after }) => (after ?? before)?.table ?? 'nat');
  return (['nat', 'filter'] as const)
    .flatMap((table) => {
      const edit = byTable.get(table) ?? [];
      return edit.length === 0 ? [] : [`*${table}`, ...tableInput(edit, wanted), 'COMMIT'];
    })
    .concat('')
    .join('\n');
}

function tableInput(list: readonly Edit[], wanted: TableState): string[] {
  const written = list.flatMap(({ after }) => (after?.type === 'chain' ? [after] : []));
  const gone = list.flatMap(({ before, after }) => (before?.type === 'chain' && !after ? [before] : []));
  const anew = new Set([...written, ...gone].map(({ name }) => name));
  const rules = (pick: (edit: Edit) => TableObject | undefined): Rule[] =>
    list.flatMap((edit) => {
      const object = pick(edit);
      return object?.type === 'rule' && !anew.has(object.chain) ? [object] : [];
    });
  return [
    ...[...written, ...gone].map(({ name }) => `:${name} - [0:0]`),
    ...rules(({ before, after }) => (after ? undefined : before)).map(
      ({ chain, rule }) => `-D ${chain} ${rule}`,
    ),
    ...written.flatMap((chain) => contents(chain, wanted).map((rule) => `-A ${chain.name} ${rule}`)),
    ...rules(({ after }) => after).map(({ chain, rule }) => `-I ${chain} 1 ${rule}`),
    ...gone.map(({ name }) => `-X ${name}`),
  ];
}

function contents({ name, table, family, rules }: Chain, wanted: TableState): string[] {
  if (!BAGS.has(name)) return [...rules];
  const held = [...wanted.values()].flatMap((object) =>
    object.type === 'rule' && object.chain === name && object.table === table && object.family === family
      ? [object.rule]
      : [],
  );
  return [...held, ...rules];
}
