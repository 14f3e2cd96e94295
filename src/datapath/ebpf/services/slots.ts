/** Which backends the slots of a frontend's table hold, by its algorithm. */
import type { BackendAddress, BalanceAlgorithm } from '../../plan/tables.ts';
import { maglevTable } from './maglev.ts';
import { ringTable } from './ring.ts';
import { weightedTable } from './weighted.ts';

export const weightOf = (backend: BackendAddress): number => backend.weight ?? 1;

export const backendName = (backend: { address: string; port: number }): string =>
  `${backend.address}|${backend.port}`;

/** Indexes into `backends`. Those of weight 0 have no slot; with none left the table is empty. */
export function slotsOf(algorithm: BalanceAlgorithm, backends: readonly BackendAddress[]): Uint32Array {
  if (backends.every((backend) => backend.weight === undefined || backend.weight === 1))
    return isHashed(algorithm) ? tableOf(algorithm, backends) : identity(backends.length);
  const serving = backends.flatMap((backend, index) => (weightOf(backend) > 0 ? [index] : []));
  const chosen = serving.map((index) => backends[index]).filter((backend) => backend !== undefined);
  return tableOf(algorithm, chosen).map((slot) => serving[slot] ?? 0);
}

const isHashed = (algorithm: BalanceAlgorithm): boolean =>
  algorithm === 'maglev' || algorithm === 'ring-hash' || algorithm === 'source-hash';

function identity(length: number): Uint32Array {
  const table = new Uint32Array(length);
  for (let i = 0; i < length; i++) table[i] = i;
  return table;
}

function tableOf(algorithm: BalanceAlgorithm, backends: readonly BackendAddress[]): Uint32Array {
  switch (algorithm) {
    case 'maglev':
    case 'source-hash':
      return maglevTable(backends.map(member));
    case 'ring-hash':
      return ringTable(backends.map(member));
    case 'least-connection':
      // Weights are the kernel's to compare: a backend is looked at once.
      return identity(backends.length);
    default:
      return weightedTable(backends.map(weightOf));
  }
}

const member = (backend: BackendAddress) => ({ name: backendName(backend), weight: weightOf(backend) });
