/** What is new in the policy of a node: by identity where the compiler gives the same objects again. */
import type { PolicyEndpoint, PolicyTables } from '../../policy/tables.ts';
import type { Change } from './tables.ts';

/** May name entries that are as they were. */
export function policyChanges(before: PolicyTables | undefined, after: PolicyTables, node: string): Change[] {
  const changes: Change[] = [];
  compare(before?.rules, after.rules, (number, value) => {
    changes.push({ table: 'rules', key: `${number}`, value });
  });
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
  for (const [key, value] of after) if (before?.get(key) !== value) tell(key, value);
  for (const key of before?.keys() ?? []) if (!after.has(key)) tell(key, undefined);
}

type Endpoints = ReadonlyMap<string, PolicyEndpoint>;

function compareEndpoints(
  before: Endpoints | undefined,
  after: Endpoints,
  node: string,
  out: Change[],
): void {
  const here = (endpoint: PolicyEndpoint | undefined) => (endpoint?.node === node ? endpoint : undefined);
  for (const [key, endpoint] of after) {
    const [was, is] = [here(before?.get(key)), here(endpoint)];
    if (was?.ingress === is?.ingress && was?.egress === is?.egress) continue;
    const value = is && { ingress: is.ingress, egress: is.egress };
    out.push({ table: 'endpoints', key, value });
  }
  for (const [key, endpoint] of before ?? [])
    if (here(endpoint) && !after.has(key)) out.push({ table: 'endpoints', key, value: undefined });
}
