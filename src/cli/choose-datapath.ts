/** Which data path a cluster's nodes have: what was asked for, what they had, else the best that this kernel can. */
import { Option } from 'commander';
import { DATAPATHS, type DatapathName } from '../cluster/config.ts';
import { type BpfFeatures, missingBpf, probeBpf } from '../kernel/bpf/probe.ts';

export const datapathOption = (): Option =>
  new Option(
    '--datapath <name>',
    'what programs the kernel (default: ebpf where the kernel can, else nftables)',
  ).choices([...DATAPATHS]);

export interface ChosenDatapath {
  readonly name: DatapathName;
  /** Where it is not the best there is: what that would have needed, for people. */
  readonly why: string | undefined;
}

/** @param probe asked only where neither flag nor data directory says it */
export function chooseDatapath(
  asked: string | undefined,
  kept: DatapathName | undefined,
  probe: () => BpfFeatures = probeBpf,
): ChosenDatapath {
  const named = DATAPATHS.find((name) => name === asked) ?? kept;
  if (named) return { name: named, why: undefined };
  const missing = missingBpf(probe());
  if (missing.length === 0) return { name: 'ebpf', why: undefined };
  const lacks = missing.map(([name, { why, hint }]) => `${name}: ${why ?? 'missing'}; ${hint ?? ''}`);
  return { name: 'nftables', why: `eBPF lacks ${lacks.join('; ')}` };
}
