import { firstOf, formatAddress, parseCidr } from '../../lib/ip.ts';

/** Where a node answers probes that travel as its pods' packets do: pools give no pod the first address of a range. */
export const probeAddress = (podCidr: string): string => formatAddress(firstOf(parseCidr(podCidr)));
