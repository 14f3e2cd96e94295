/** Settings of IPVS that this needs: value, and what the kernel starts with. */
import type { Difference } from '../backend.ts';

/** In the node's namespace. */
export interface Sysctls {
  read(key: string): string;
  write(key: string, value: string): void;
}

const NEEDED: readonly { readonly key: string; readonly value: string; readonly initial: string }[] = [
  // Policy and masquerade go by tracked connections.
  { key: 'net.ipv4.vs.conntrack', value: '1', initial: '0' },
  // Datagrams to a destination that is gone are sent to another one, not into nothing.
  { key: 'net.ipv4.vs.expire_nodest_conn', value: '1', initial: '0' },
  // A client who is bound to a destination that drains is bound anew.
  { key: 'net.ipv4.vs.expire_quiescent_template', value: '1', initial: '0' },
  // Service addresses are the node's own by a route; on the wire it must not answer for them.
  { key: 'net.ipv4.conf.all.arp_ignore', value: '1', initial: '0' },
];

export function sysctlDifferences(sysctls: Sysctls): { differences: Difference[]; mend(): void } {
  const wrong = NEEDED.filter(({ key, value }) => sysctls.read(key) !== value);
  return {
    differences: wrong.map(({ key, value }) => ({ kind: 'changed', what: `sysctl ${key} = ${value}` })),
    mend() {
      for (const { key, value } of wrong) sysctls.write(key, value);
    },
  };
}

export function resetSysctls(sysctls: Sysctls): void {
  for (const { key, initial } of NEEDED) sysctls.write(key, initial);
}
