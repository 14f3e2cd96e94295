/**
 * What the table is made of, as text that nft would list: so that what is there and what should be there compare as
 * strings. Comments are for readers and not compared.
 */
export const OWNER = 'heddle: written by the agent of this node, which mends by-hand changes';

export type KernelObject = NamedCounter | NamedSet | Element | Chain | Foreign;

export interface NamedCounter {
  readonly type: 'counter';
  readonly name: string;
  readonly comment?: string;
}

export interface NamedSet {
  readonly type: 'set';
  readonly name: string;
  readonly map: boolean;
  /** `type ipv4_addr : mark; flags interval` */
  readonly spec: string;
}

export interface Element {
  readonly type: 'element';
  readonly set: string;
  readonly key: string;
  /** Empty in sets. */
  readonly value: string;
}

export interface Chain {
  readonly type: 'chain';
  readonly name: string;
  /** `type filter hook forward priority filter; policy accept;`, empty in chains that others jump to. */
  readonly hook: string;
  readonly rules: readonly string[];
  readonly comment?: string;
}

/** Something in the table that is none of the above: only ever removed. */
export interface Foreign {
  readonly type: 'foreign';
  /** As in `delete <word> inet heddle <name>`; empty for a property of the table itself. */
  readonly word: string;
  readonly name: string;
}

/** Objects by `idOf`. */
export type KernelState = ReadonlyMap<string, KernelObject>;

export function idOf(object: KernelObject): string {
  switch (object.type) {
    case 'element':
      return elementId(object.set, object.key);
    case 'foreign':
      return `${object.word} ${object.name}`;
    default:
      return `${object.type} ${object.name}`;
  }
}

export const elementId = (set: string, key: string): string => `element ${set} ${key}`;

export const stateOf = (objects: Iterable<KernelObject>): Map<string, KernelObject> =>
  new Map([...objects].map((object) => [idOf(object), object]));

export function equal(a: KernelObject, b: KernelObject): boolean {
  if (a.type === 'element') return b.type === 'element' && a.value === b.value;
  if (a.type === 'set') return b.type === 'set' && a.map === b.map && a.spec === b.spec;
  if (a.type === 'chain') return b.type === 'chain' && a.hook === b.hook && sameRules(a.rules, b.rules);
  return a.type === b.type;
}

const sameRules = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((rule, i) => rule === b[i]);

export const chain = (name: string, rules: readonly string[], comment?: string): Chain => ({
  type: 'chain',
  name,
  hook: '',
  rules,
  ...(comment === undefined ? {} : { comment }),
});

export const set = (name: string, spec: string): NamedSet => ({ type: 'set', name, map: false, spec });
export const map = (name: string, spec: string): NamedSet => ({ type: 'set', name, map: true, spec });

export const element = (name: string, key: string, value = ''): Element => ({
  type: 'element',
  set: name,
  key,
  value,
});

/** nft has no escapes in comments, and 128 bytes at most. */
export const commentText = (text: string): string => text.replaceAll(/[^ !#-~]/g, '?').slice(0, 120);
