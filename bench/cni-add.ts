/** CNI ADD, dual-stack, against Debian's reference plugins bridge and host-local. */
import { cniContenders } from './cni.ts';
import type { Benchmark } from './harness.ts';

export async function benchmark(): Promise<Benchmark> {
  return { name: 'cni-add', unit: 'ms', larger: false, pairs: 20, ...(await cniContenders('ADD')) };
}
