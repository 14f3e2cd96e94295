/** How a frontend wants to be balanced → the kernel's scheduler. */
import { IPVS_FLAG } from '../../kernel/ipvs-codec.ts';
import type { BackendAddress, BalanceAlgorithm } from '../plan/tables.ts';

export interface Scheduler {
  readonly name: string;
  readonly flags: number;
}

interface Choice extends Scheduler {
  /** Its twin that knows shares; absent: it does. */
  readonly weighted?: string;
}

const { FALLBACK, PORT } = IPVS_FLAG;

const CHOICES: Readonly<Record<string, Choice>> = {
  // IPVS draws nothing: taking turns gives the same shares.
  random: { name: 'rr', weighted: 'wrr', flags: 0 },
  'round-robin': { name: 'rr', weighted: 'wrr', flags: 0 },
  'least-connection': { name: 'lc', weighted: 'wlc', flags: 0 },
  // By connection and not by client, as the other backends do; who drains leaves his part to the others.
  maglev: { name: 'mh', flags: FALLBACK | PORT },
  'source-hash': { name: 'sh', flags: FALLBACK },
  'destination-hash': { name: 'dh', flags: 0 },
  'shortest-expected-delay': { name: 'sed', flags: 0 },
  'never-queue': { name: 'nq', flags: 0 },
};

/** What the plan may ask for; of others it says that IPVS cannot. */
export const ALGORITHMS = Object.keys(CHOICES) as BalanceAlgorithm[];

const PLAIN: Choice = { name: 'rr', weighted: 'wrr', flags: 0 };

export function schedulerOf(algorithm: string, backends: readonly BackendAddress[]): Scheduler {
  const { name, weighted = name, flags } = CHOICES[algorithm] ?? PLAIN;
  const shares = new Set(backends.map(({ weight = 1 }) => weight).filter((weight) => weight > 0));
  return { name: shares.size > 1 ? weighted : name, flags };
}
