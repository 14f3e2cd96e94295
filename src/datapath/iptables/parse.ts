/** iptables-save → what of it is ours. Chains and rules of others are not looked at. */
import { isFrontendChain } from './names.ts';
import { BAGS, type Family, idOf, isKernelChain, type TableObject, type TableName } from './objects.ts';

const FIXED: ReadonlySet<string> = new Set([...BAGS, 'KUBE-MARK-MASQ', 'KUBE-POSTROUTING', 'KUBE-FIREWALL']);
const isOurs = (chain: string): boolean => FIXED.has(chain) || isFrontendChain(chain);

export interface Listing {
  readonly objects: ReadonlyMap<string, TableObject>;
  /** Rules that are there more than once, as often as that is too many. */
  readonly doubles: readonly TableObject[];
  /** Rules in all, ours or not, by table. */
  readonly counts: ReadonlyMap<TableName, number>;
}

/**
 * @param tails of chains in `BAGS`: `nat KUBE-SERVICES` → how many rules stand at its end. What stands there
 *   instead is compared as one with the chain.
 */
export function parseSave(text: string, family: Family, tails: ReadonlyMap<string, number>): Listing {
  const chains = new Map<string, { table: TableName; name: string; rules: string[] }>();
  const objects = new Map<string, TableObject>();
  const doubles: TableObject[] = [];
  const counts = new Map<TableName, number>();
  const put = (object: TableObject): void => {
    const id = idOf(object);
    if (objects.has(id)) doubles.push(object);
    else objects.set(id, object);
  };
  for (const { table, chain, rule } of linesOf(text)) {
    const key = `${table} ${chain}`;
    if (rule === undefined) {
      if (isOurs(chain)) chains.set(key, { table, name: chain, rules: [] });
      continue;
    }
    counts.set(table, (counts.get(table) ?? 0) + 1);
    if (isOurs(chain)) chains.get(key)?.rules.push(rule);
    else if (isKernelChain(chain) && isOurs(targetOf(rule)))
      put({ type: 'rule', family, table, chain, rule });
  }
  for (const [key, { table, name, rules }] of chains) {
    const tail = BAGS.has(name) ? (tails.get(key) ?? 0) : rules.length;
    const split = rules.length - Math.min(tail, rules.length);
    put({ type: 'chain', family, table, name, rules: rules.slice(split) });
    for (const rule of rules.slice(0, split)) put({ type: 'rule', family, table, chain: name, rule });
  }
  return { objects, doubles, counts };
}

const targetOf = (rule: string): string => /(?:^| )-[jg] (\S+)/.exec(rule)?.[1] ?? '';

/** A chain where it is declared, without `rule`, and each rule. */
function* linesOf(text: string): Generator<{ table: TableName; chain: string; rule?: string }> {
  let table: TableName | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line === '*nat' ? 'nat' : line === '*filter' ? 'filter' : undefined;
    if (!table) continue;
    const [, declared] = /^:(\S+) /.exec(line) ?? [];
    const [, chain, rule = ''] = /^-A (\S+) (.*)$/.exec(line) ?? [];
    if (declared !== undefined) yield { table, chain: declared };
    else if (chain !== undefined) yield { table, chain, rule };
  }
}
