/** What is new in the policy of a node: by identity where the compiler gives the same objects again. */
import { SharingMap } from '../../lib/sharing-map.ts';
import type { PolicyEndpoint, PolicyTables, RuleInfo } from '../../policy/tables.ts';
import type { Change } from './tables.ts';

/** May name entries that are as they were. */
export function policyChanges(before: PolicyTables | undefined, after: PolicyTables, node: string): Change[] {
  const changes: Change[] = [];
  const { rules, newRules } = after;
  const tellRule = (number: number, value: RuleInfo | undefined): void => {
    changes.push({ table: 'rules', key: `${number}`, value });
  };
  if (!newRules || newRules.since !== before?.rules) compare(before?.rules, rules, tellRule);
  else for (const number of newRules.numbers) tellRule(number, rules.get(number));
  compare(before?.tables, after.tables, (number, value) => {
    changes.push({ table: 'policies', key: `${number}`, value });
  });
  compare(before?.identities, after.identities, (key, value) => {
    changes.push({ table: 'identities', key, value });
  });
  compareEndpoints(before?.endpoints, after.endpoints, node, changes);
  return changes;
}

/** Tells of each key that has another value. */
function compare<K, V>(
  before: ReadonlyMap<K, V> | undefined,
  after: ReadonlyMap<K, V>,
  tell: (key: K, value: V | undefined) => void,
): void {
  if (before === after) return;
  if (before instanceof SharingMap && after instanceof SharingMap) {
    for (const [key, value] of before.changesTo(after) as Iterable<readonly [K, V | undefined]>)
      tell(key, value);
    return;
  }
  let stayed = 0;
  for (const [key, value] of after) {
    const was = before?.get(key);
    if (was !== undefined) stayed++;
    if (was !== value) tell(key, value);
  }
  if (!before || stayed === before.size) return;
  for (const key of before.keys()) if (!after.has(key)) tell(key, undefined);
}

type Endpoints = ReadonlyMap<string, PolicyEndpoint>;

function compareEndpoints(
  before: Endpoints | undefined,
  after: Endpoints,
  node: string,
  out: Change[],
): void {
  const here = (endpoint: PolicyEndpoint | undefined) => (endpoint?.node === node ? endpoint : undefined);
  compare(before, after, (key, endpoint) => {
    const [was, is] = [here(before?.get(key)), here(endpoint)];
    if (was?.ingress === is?.ingress && was?.egress === is?.egress) return;
    const value = is && { ingress: is.ingress, egress: is.egress };
    out.push({ table: 'endpoints', key, value });
  });
}
