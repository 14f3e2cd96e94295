/** CNI ADD with a host port and limits, dual-stack, against Debian's bridge, host-local, portmap and bandwidth. */
import { cniContenders } from './cni.ts';
import type { Benchmark } from './harness.ts';

export async function benchmark(): Promise<Benchmark> {
  return {
    name: 'cni-add-full',
    unit: 'ms',
    larger: false,
    pairs: 20,
    ...(await cniContenders('ADD', true)),
  };
}
