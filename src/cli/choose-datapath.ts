/** Which backend a cluster's nodes use: what was asked for, what they had, else the best that this kernel can. */
import { Option } from 'commander';
import { DATAPATHS, type DatapathName } from '../cluster/config.ts';

export const datapathOption = (): Option =>
  new Option(
    '--datapath <name>',
    'what programs the kernel (default: ebpf where the kernel can, else nftables)',
  ).choices([...DATAPATHS]);

export function chooseDatapath(asked: string | undefined, kept: DatapathName | undefined): DatapathName {
  const named = DATAPATHS.find((name) => name === asked);
  return named ?? kept ?? 'nftables';
}
