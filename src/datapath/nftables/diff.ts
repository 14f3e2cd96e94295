/** Two states of the table → the commands of one transaction that turns the first into the second. */
import { type Edit as EditOf, edits as editsOf } from '../held.ts';
import { isSpanMap } from './names.ts';
import {
  type Chain,
  commentText,
  type Element,
  equal,
  type KernelObject,
  type KernelState,
  type NamedSet,
  OWNER,
} from './objects.ts';

export type Edit = EditOf<KernelObject>;

/** Only what differs. */
export const edits = (before: KernelState, after: KernelState): Edit[] => editsOf({ equal }, before, after);

/** What cannot be changed while it is there: then the whole table is replaced, in one transaction too. */
export function needsReplacement(list: readonly Edit[]): boolean {
  return list.some(({ before, after }) => {
    if (before?.type === 'foreign') return before.word === '';
    if (before?.type === 'set' && after) return true;
    return before?.type === 'chain' && after?.type === 'chain' && before.hook !== after.hook;
  });
}

/** Commands in an order in which nothing is used before it is there, nor removed while it is in use. */
export function commandsFor(list: readonly Edit[], table: string): string[] {
  const added = list.filter(({ before }) => before === undefined).map(({ after }) => after);
  const removed = list.filter(({ after }) => after === undefined).map(({ before }) => before);
  const goneSets = new Set(ofType(removed, 'set').map(({ name }) => name));
  const elements = list.filter(({ before, after }) => (before ?? after)?.type === 'element');
  const stale = ofType(
    elements.map(({ before }) => before),
    'element',
  ).filter(({ set }) => !goneSets.has(set));
  const fresh = ofType(
    elements.map(({ after }) => after),
    'element',
  );
  const changedChains = list.flatMap(({ before, after }) =>
    before && after?.type === 'chain' ? [after] : [],
  );
  const goneChains = ofType(removed, 'chain');
  return [
    ...ofType(added, 'counter').map(
      ({ name, comment }) => `add counter ${table} ${name}${block([], comment)}`,
    ),
    ...ofType(added, 'set').map((set) => addSet(set, table)),
    ...ofType(added, 'chain').map((chain) => addChain(chain, table)),
    ...elementCommands(`delete element ${table}`, stale, deletionKey),
    ...[...changedChains, ...goneChains].map(({ name }) => `flush chain ${table} ${name}`),
    ...elementCommands(`add element ${table}`, fresh, ({ key, value }) =>
      value === '' ? key : `${key} : ${value}`,
    ),
    ...[...ofType(added, 'chain'), ...changedChains].flatMap((chain) => addRules(chain, table)),
    ...ofType(removed, 'set').map((set) => `delete ${set.map ? 'map' : 'set'} ${table} ${set.name}`),
    ...goneChains.map(({ name }) => `delete chain ${table} ${name}`),
    ...ofType(removed, 'counter').map(({ name }) => `delete counter ${table} ${name}`),
    ...ofType(removed, 'foreign').map(({ word, name }) => `delete ${word} ${table} ${name}`),
  ];
}

/** The whole table anew. The kernel forgets its counters, and no packet meets a gap. */
export function replaceTable(state: KernelState, exists: boolean, table: string): string[] {
  return [
    ...(exists ? [`delete table ${table}`] : []),
    `add table ${table} { comment "${OWNER}"; }`,
    ...commandsFor(
      [...state.values()].map((after) => ({ before: undefined, after })),
      table,
    ),
  ];
}

function ofType<T extends KernelObject['type']>(
  objects: readonly (KernelObject | undefined)[],
  type: T,
): Extract<KernelObject, { type: T }>[] {
  return objects.filter((object): object is Extract<KernelObject, { type: T }> => object?.type === type);
}

function block(parts: readonly string[], comment?: string): string {
  const all = [...parts, ...(comment === undefined ? [] : [`comment "${commentText(comment)}"`])];
  return all.length === 0 ? '' : ` { ${all.join('; ')}; }`;
}

const addSet = (set: NamedSet, table: string): string =>
  `add ${set.map ? 'map' : 'set'} ${table} ${set.name}${block(set.spec.split('; '))}`;

const addChain = ({ name, hook, comment }: Chain, table: string): string =>
  `add chain ${table} ${name}${block(hook === '' ? [] : [hook.replace(/;$/, '')], comment)}`;

const addRules = ({ name, rules }: Chain, table: string): string[] =>
  rules.map((rule) => `add rule ${table} ${name} ${rule}`);

/**
 * nft 1.0.6 looks for a mark in the wrong byte order when it deletes a single key of a map with intervals, and
 * finds nothing. Written as a range of one it is found.
 */
const deletionKey = ({ set, key }: Element): string =>
  isSpanMap(set) ? key.replace(/ \. (\d+)$/, ' . $1-$1') : key;

function elementCommands(
  command: string,
  elements: readonly Element[],
  text: (element: Element) => string,
): string[] {
  const bySet = Map.groupBy(elements, ({ set }) => set);
  return [...bySet].map(([set, list]) => `${command} ${set} { ${list.map(text).join(', ')} }`);
}
