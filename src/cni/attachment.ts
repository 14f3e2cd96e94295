/** What is remembered of an attachment beside its addresses, in the address book, so that one write keeps both. */
import type { Allocation } from '../ipam/ipam.ts';
import type { Bandwidth } from './bandwidth.ts';
import type { PortMapping } from './host-ports.ts';
import type { Attachment, CniRequest } from './types.ts';
import type { Wishes } from './wishes.ts';

export interface Details {
  /** Name of the network; GC of one leaves the others alone. */
  readonly network?: string;
  readonly ports?: readonly PortMapping[];
  readonly bandwidth?: Bandwidth;
  /** Further names of the container. */
  readonly aliases?: readonly string[];
  /** The host's link of an attachment that an earlier plugin made: ports and limits only are ours. */
  readonly chained?: string;
  /** With `chained`: its addresses, which are another's. */
  readonly foreign?: readonly string[];
}

export const attachmentKey = ({ containerId, ifName }: Attachment): string => `${containerId}/${ifName}`;

export function attachmentOf(key: string): Attachment {
  const slash = key.lastIndexOf('/');
  return { containerId: key.slice(0, slash), ifName: key.slice(slash + 1) };
}

export const detailsOf = ({ details }: Allocation): Details => details ?? {};

/** What must be known to undo it, and what a later start must restore. */
export function detailsFor({ config }: CniRequest, { ports, bandwidth, aliases }: Wishes): Details {
  return {
    ...(config.name === undefined ? {} : { network: config.name }),
    ...(ports.length > 0 ? { ports } : {}),
    ...(bandwidth ? { bandwidth } : {}),
    ...(aliases.length > 0 ? { aliases } : {}),
  };
}
