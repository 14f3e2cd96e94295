/** Two states of the table → the commands of one transaction that turns the first into the second. */
import { isPortMap } from './names.ts';
import {
  type Chain,
  commentText,
  type Element,
  equal,
  type KernelObject,
  type KernelState,
  type NamedSet,
  OWNER,
  TABLE,
} from './objects.ts';

export interface Edit {
  readonly before: KernelObject | undefined;
  readonly after: KernelObject | undefined;
}

/** Only what differs. */
export function edits(before: KernelState, after: KernelState): Edit[] {
  const out: Edit[] = [];
  for (const [id, object] of after) {
    const had = before.get(id);
    if (had === undefined || !equal(had, object)) out.push({ before: had, after: object });
  }
  for (const [id, object] of before) if (!after.has(id)) out.push({ before: object, after: undefined });
  return out;
}

const createTable = `add table ${TABLE} { comment "${OWNER}"; }`;

/** What cannot be changed while it is there: then the whole table is replaced, in one transaction too. */
export function needsReplacement(list: readonly Edit[]): boolean {
  return list.some(({ before, after }) => {
    if (before?.type === 'foreign') return before.word === '';
    if (before?.type === 'set' && after) return true;
    return before?.type === 'chain' && after?.type === 'chain' && before.hook !== after.hook;
  });
}

/** Commands in an order in which nothing is used before it is there, nor removed while it is in use. */
export function commandsFor(list: readonly Edit[]): string[] {
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
      ({ name, comment }) => `add counter ${TABLE} ${name}${block([], comment)}`,
    ),
    ...ofType(added, 'set').map(addSet),
    ...ofType(added, 'chain').map(addChain),
    ...elementCommands('delete', stale, deletionKey),
    ...[...changedChains, ...goneChains].map(({ name }) => `flush chain ${TABLE} ${name}`),
    ...elementCommands('add', fresh, ({ key, value }) => (value === '' ? key : `${key} : ${value}`)),
    ...[...ofType(added, 'chain'), ...changedChains].flatMap(addRules),
    ...ofType(removed, 'set').map((set) => `delete ${set.map ? 'map' : 'set'} ${TABLE} ${set.name}`),
    ...goneChains.map(({ name }) => `delete chain ${TABLE} ${name}`),
    ...ofType(removed, 'counter').map(({ name }) => `delete counter ${TABLE} ${name}`),
    ...ofType(removed, 'foreign').map(({ word, name }) => `delete ${word} ${TABLE} ${name}`),
  ];
}

/** The whole table anew. The kernel forgets its counters, and no packet meets a gap. */
export function replaceTable(state: KernelState, exists: boolean): string[] {
  return [
    ...(exists ? [`delete table ${TABLE}`] : []),
    createTable,
    ...commandsFor([...state.values()].map((after) => ({ before: undefined, after }))),
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

const addSet = (set: NamedSet): string =>
  `add ${set.map ? 'map' : 'set'} ${TABLE} ${set.name}${block(set.spec.split('; '))}`;

const addChain = ({ name, hook, comment }: Chain): string =>
  `add chain ${TABLE} ${name}${block(hook === '' ? [] : [hook.replace(/;$/, '')], comment)}`;

const addRules = ({ name, rules }: Chain): string[] =>
  rules.map((rule) => `add rule ${TABLE} ${name} ${rule}`);

/**
 * nft 1.0.6 looks for a mark in the wrong byte order when it deletes a single key of a map with intervals, and
 * finds nothing. Written as a range of one it is found.
 */
const deletionKey = ({ set, key }: Element): string =>
  isPortMap(set) ? key.replace(/ \. (\d+)$/, ' . $1-$1') : key;

function elementCommands(
  verb: 'add' | 'delete',
  elements: readonly Element[],
  text: (element: Element) => string,
): string[] {
  const bySet = Map.groupBy(elements, ({ set }) => set);
  return [...bySet].map(([set, list]) => `${verb} element ${TABLE} ${set} { ${list.map(text).join(', ')} }`);
}
