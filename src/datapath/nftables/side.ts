/** One side of a frontend: what clients inside get of it, or those outside. And how a slot of it is drawn. */
import type { BackendAddress, ServiceFrontend } from '../plan/tables.ts';
import { frontendKey } from '../plan/tables.ts';
import { digest } from './names.ts';
import { hashSlots, slotList } from './weights.ts';

/** First slot of what clients outside get. */
export const OUTSIDE_SLOTS = 0x10000;

/** Every node hashes alike, so that a connection may change the node that it comes through. */
const SEED = '0x68656464';

export const backendText = ({ address, port }: BackendAddress): string => `${address} . ${port}`;

export const frontendText = (frontend: Pick<ServiceFrontend, 'address' | 'protocol' | 'port'>): string =>
  `${frontend.address} . ${frontend.protocol.toLowerCase()} . ${frontend.port}`;

export interface Side {
  readonly frontend: ServiceFrontend;
  readonly family: 4 | 6;
  readonly ip: 'ip' | 'ip6';
  /** `10.96.0.1 . tcp . 80` */
  readonly key: string;
  readonly outside: boolean;
  /** Who may be chosen, as often as he has slots. */
  readonly slots: readonly BackendAddress[];
  /** `meta mark set numgen random mod 3` */
  readonly draw: string;
  /** Part of the names of what is this side's alone. */
  readonly id: string;
}

export function sideOf(frontend: ServiceFrontend, outside: boolean): Side {
  const family = frontend.address.includes(':') ? 6 : 4;
  const ip = family === 4 ? 'ip' : 'ip6';
  const backends = (outside ? frontend.externalBackends : undefined) ?? frontend.backends;
  const isHashed = HASHED[frontend.algorithm] !== undefined;
  const slots = isHashed ? hashSlots(backends) : slotList(backends);
  const first = outside ? ` offset ${OUTSIDE_SLOTS}` : '';
  const number = HASHED[frontend.algorithm]?.(ip, slots.length) ?? counted(frontend, slots.length);
  const id = digest(`${frontendKey(frontend)} ${outside}`);
  const draw = `meta mark set ${number}${first}`;
  return { frontend, family, ip, key: frontendText(frontend), outside, slots, draw, id };
}

export const HASHED: Partial<Record<ServiceFrontend['algorithm'], (ip: string, slots: number) => string>> = {
  maglev: byConnection,
  'ring-hash': byConnection,
  'source-hash': (ip, slots) => `jhash ${ip} saddr mod ${slots} seed ${SEED}`,
};

function byConnection(ip: string, slots: number): string {
  return `jhash ${ip} saddr . th sport . ${ip} daddr . th dport mod ${slots} seed ${SEED}`;
}

/** nftables counts connections of nobody: `least-connection` is drawn at random, and the plan says so. */
const counted = ({ algorithm }: ServiceFrontend, slots: number): string =>
  `numgen ${algorithm === 'round-robin' ? 'inc' : 'random'} mod ${slots}`;
