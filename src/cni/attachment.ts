/** What is remembered of an attachment beside its addresses, in the address book, so that one write keeps both. */
import type { Allocation } from '../ipam/ipam.ts';
import { formatCidr, parseCidr } from '../lib/ip.ts';
import type { Bandwidth } from './bandwidth.ts';
import type { PortMapping } from './host-ports.ts';
import type { SavedSource } from './leases/types.ts';
import type { LinkRules } from './links.ts';
import type { MainKind } from './main/types.ts';
import type { FirewallRules, MetaKind, TuningBackup } from './meta/types.ts';
import { hostInterfaceName } from './names.ts';
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
  /** With `foreign`: those whose members are on one link with it. */
  readonly networks?: readonly string[];
  /** Another way to connect than Heddle's own. */
  readonly main?: MainKind;
  /** An ADD is under way: whoever finds it after a crash takes it back. */
  readonly making?: true;
  /** With `main`: where its addresses come from, and those, with the lengths of their networks. */
  readonly source?: SavedSource;
  readonly leased?: readonly string[];
  /** Of `leased`: those that appear elsewhere with the machine's own address. */
  readonly masquerade?: readonly string[];
  /** The only link address that may send. */
  readonly mac?: string;
  /** Path of the container's namespace, where something in it must be undone. */
  readonly netns?: string;
  /** A function that does not make the interface: this entry is it alone. */
  readonly meta?: MetaKind;
  readonly firewall?: FirewallRules;
  /** What the settings were before. */
  readonly tuning?: TuningBackup;
  /** The book was lost: this is what the kernel told of it, and not all that there was. */
  readonly found?: true;
  /** With `found`: what the kernel calls it, where nobody knows any more who it is for. The key is made of it. */
  readonly mark?: string;
}

/** Several functions may have an entry each for one interface. `:` is in no name of an interface. */
export const metaAttachment = ({ containerId, ifName }: Attachment, meta: MetaKind): Attachment => ({
  containerId,
  ifName: `${ifName}:${meta}`,
});

/** As the runtime knows it. */
export const baseAttachment = ({ containerId, ifName }: Attachment): Attachment => ({
  containerId,
  ifName: ifName.split(':')[0] ?? '',
});

export const attachmentKey = ({ containerId, ifName }: Attachment): string => `${containerId}/${ifName}`;

export function attachmentOf(key: string): Attachment {
  const slash = key.lastIndexOf('/');
  return { containerId: key.slice(0, slash), ifName: key.slice(slash + 1) };
}

/** What is its in the machine's links and rules has this name. */
export const markOf = (held: Allocation): string =>
  detailsOf(held).mark ?? hostInterfaceName(attachmentOf(held.key));

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

/** What host ports of an attachment lead to. */
export function holderOf(held: Pick<Allocation, 'addresses' | 'details'>): {
  addresses: readonly string[];
  networks: readonly string[];
} {
  const { main, leased, foreign, networks = [] } = (held.details ?? {}) as Details;
  if (leased === undefined) return { addresses: foreign ?? held.addresses, networks };
  return {
    addresses: leased.map((address) => address.split('/')[0] ?? ''),
    networks: main === 'bridge' ? leased.map((address) => formatCidr(parseCidr(address))) : [],
  };
}

/** Its part in the machine's rules; undefined where it has none. */
export function rulesOf(link: string, { masquerade, mac }: Details): LinkRules | undefined {
  if (masquerade === undefined && mac === undefined) return undefined;
  return { link, masquerade: masquerade ?? [], ...(mac === undefined ? {} : { mac }) };
}
