/** Addresses that direct server return names in 28 bits, see `dsr_number` in bpf/include/translate.h. */
import type { PlanState } from '../../plan/tables.ts';
import { addressBytes } from '../services/address-bytes.ts';

export function dsrNumber(address: string): number {
  let hash = 0x811c9dc5;
  for (const byte of addressBytes(address)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash & 0x0fffffff;
}

export interface DsrNames {
  readonly byNumber: ReadonlyMap<number, string>;
  /** Two addresses of one number: answers of neither could be told. */
  readonly clashes: readonly (readonly [string, string])[];
}

/** Of every address at which another node may take connections for pods of this one. */
export function dsrNames({ services, routes }: Pick<PlanState, 'services' | 'routes'>): DsrNames {
  const byNumber = new Map<number, string>();
  const clashes: [string, string][] = [];
  const shared = [...services.values()].filter(({ kind }) => kind !== 'ClusterIP' && kind !== 'NodePort');
  const nodes = [...routes.values()].flatMap(({ addresses }) => addresses);
  for (const address of new Set([...nodes, ...shared.map((frontend) => frontend.address)])) {
    const number = dsrNumber(address);
    const other = byNumber.get(number);
    if (other === undefined) byNumber.set(number, address);
    else clashes.push([other, address]);
  }
  for (const [address] of clashes) byNumber.delete(dsrNumber(address));
  return { byNumber, clashes };
}
