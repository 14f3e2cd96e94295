/** Who is called what on which network, from the address book: names of containers, and their aliases. */
import type { Allocation, Ipam } from '../../ipam/ipam.ts';
import type { ContainerNames, NameView } from '../../dns/containers.ts';
import { attachmentOf, detailsOf, holderOf } from '../attachment.ts';

type Network = Map<string, string[]>;

interface Index {
  readonly networks: ReadonlyMap<string, Network>;
  /** Of a container, by id. */
  readonly joined: ReadonlyMap<string, ReadonlySet<string>>;
  /** By address. */
  readonly holders: ReadonlyMap<string, { readonly container: string; readonly name: string }>;
}

/** A name of DNS as it is compared. */
export const nameKey = (name: string): string => name.toLowerCase().replace(/\.$/, '');

export function createContainerNames(ipam: Pick<Ipam, 'list' | 'onChange'>): ContainerNames {
  let index: Index | undefined;
  ipam.onChange(() => {
    index = undefined;
  });
  return {
    viewOf(client) {
      index ??= indexOf(ipam.list());
      const holder = index.holders.get(client);
      return holder && viewOf(index, index.joined.get(holder.container) ?? new Set());
    },
  };
}

function viewOf({ networks, joined, holders }: Index, mine: ReadonlySet<string>): NameView {
  return {
    addresses(name) {
      const all = [...mine].flatMap((network) => networks.get(network)?.get(name) ?? []);
      return all.length === 0 ? undefined : [...new Set(all)];
    },
    nameOf(address) {
      const holder = holders.get(address);
      const shared = holder && !mine.isDisjointFrom(joined.get(holder.container) ?? new Set());
      return shared ? holder.name : undefined;
    },
  };
}

function indexOf(allocations: readonly Allocation[]): Index {
  const networks = new Map<string, Network>();
  const joined = new Map<string, Set<string>>();
  const holders = new Map<string, { container: string; name: string }>();
  for (const allocation of allocations) {
    const { network = '', aliases = [], making, meta } = detailsOf(allocation);
    if (making || meta !== undefined) continue;
    const { containerId: container } = attachmentOf(allocation.key);
    const name = nameKey(allocation.label.slice(allocation.label.indexOf('/') + 1));
    const { addresses } = holderOf(allocation);
    joined.set(container, (joined.get(container) ?? new Set()).add(network));
    const names = networks.get(network) ?? new Map<string, string[]>();
    networks.set(network, names);
    for (const each of new Set([name, ...aliases.map(nameKey)]))
      names.set(each, [...(names.get(each) ?? []), ...addresses]);
    for (const address of addresses) holders.set(address, { container, name });
  }
  return { networks, joined, holders };
}
