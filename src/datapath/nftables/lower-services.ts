/**
 * A frontend is one element of `services4`, which names how many backends there are, and one of `backends4` per
 * backend: key frontend and slot. The chain `balance4-3` draws a slot of three and translates.
 */
import type { BackendAddress, ServiceFrontend } from '../plan/tables.ts';
import { balanceChain, mark } from './names.ts';
import { chain, element, type KernelObject } from './objects.ts';
import { assignSlots } from './slots.ts';

const backendText = ({ address, port }: BackendAddress): string => `${address} . ${port}`;

export const frontendText = (frontend: Pick<ServiceFrontend, 'address' | 'protocol' | 'port'>): string =>
  `${frontend.address} . ${frontend.protocol.toLowerCase()} . ${frontend.port}`;

export function lowerFrontend(
  frontend: ServiceFrontend,
  current: readonly (string | undefined)[],
): KernelObject[] {
  const count = frontend.backends.length;
  // Nothing matches it, so that `forward` and `output` refuse it as they do every unknown port.
  if (count === 0) return [];
  const family = frontend.address.includes(':') ? 6 : 4;
  const key = frontendText(frontend);
  const slots = assignSlots(current, frontend.backends.map(backendText));
  return [
    balance(family, count),
    element(`services${family}`, key, `goto ${balanceChain(family, count)}`),
    ...slots.map((backend, slot) => element(`backends${family}`, `${key} . ${mark(slot)}`, backend)),
  ];
}

function balance(family: 4 | 6, count: number): KernelObject {
  const ip = family === 4 ? 'ip' : 'ip6';
  return chain(balanceChain(family, count), [
    `meta mark set numgen random mod ${count}`,
    `dnat ${ip} to ${ip} daddr . meta l4proto . th dport . meta mark map @backends${family}`,
  ]);
}
