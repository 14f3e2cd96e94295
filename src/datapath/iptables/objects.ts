/**
 * What the tables nat and filter of one family are made of, as text that iptables-save would print: so that what is
 * there and what should be there compare as strings.
 */
export type Family = 4 | 6;
export type TableName = 'nat' | 'filter';

export type TableObject = Chain | Rule;

/** A chain of ours whose rules stand in order. */
export interface Chain {
  readonly type: 'chain';
  readonly family: Family;
  readonly table: TableName;
  readonly name: string;
  /** Without `-A NAME`. In a chain of `BAGS` these are the last ones. */
  readonly rules: readonly string[];
}

/** One of many rules in no order, in a chain of `BAGS` or in one of the kernel's. */
export interface Rule {
  readonly type: 'rule';
  readonly family: Family;
  readonly table: TableName;
  readonly chain: string;
  readonly rule: string;
}

/** Chains that hold a rule for each frontend: a change is written as single rules, not as the chain anew. */
export const BAGS: ReadonlySet<string> = new Set([
  'KUBE-SERVICES',
  'KUBE-NODEPORTS',
  'KUBE-EXTERNAL-SERVICES',
  'KUBE-PROXY-FIREWALL',
]);

export const isKernelChain = (chain: string): boolean => !chain.startsWith('KUBE-');

export function idOf(object: TableObject): string {
  const where = `${object.family} ${object.table}`;
  return object.type === 'chain'
    ? `${where} chain ${object.name}`
    : `${where} rule ${object.chain} ${object.rule}`;
}

/** By `idOf`. */
export type TableState = ReadonlyMap<string, TableObject>;

export const equal = (a: TableObject, b: TableObject): boolean =>
  a.type === 'rule' || (b.type === 'chain' && a.rules.join('\n') === b.rules.join('\n'));

/** As users of iptables would ask for it. */
export function objectText(object: TableObject): string {
  const program = object.family === 4 ? 'iptables' : 'ip6tables';
  return object.type === 'chain'
    ? `${program} -t ${object.table} chain ${object.name}`
    : `${program} -t ${object.table} -A ${object.chain} ${object.rule}`;
}
