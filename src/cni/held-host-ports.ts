/** Host ports where the data path of a cluster's node serves them: who has which is kept here, and told. */
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import { HeddleError } from '../lib/errors.ts';
import { attachmentOf, detailsOf, holderOf } from './attachment.ts';
import { type HostPorts, type PortHolder, type PortMapping, portText } from './host-ports.ts';
import { hostInterfaceName } from './names.ts';

export interface HeldHostPorts extends HostPorts {
  /** Pod by pod, `namespace/name`; what has no name is called by its link. */
  pods(): { pod: string; addresses: readonly string[]; ports: readonly PortMapping[] }[];
  /** Told of every change from now on. */
  onChange(listener: () => void): void;
  /** Takes them from those that are not in the books any more. */
  settle(books: Pick<Ipam, 'list'>): void;
}

/** @param books what earlier runs gave: they go on. */
export function createHeldHostPorts(books: readonly Allocation[]): HeldHostPorts {
  const listeners: (() => void)[] = [];
  const changed = () => {
    for (const listener of listeners) listener();
  };
  const held = new Map<string, PortHolder>();
  for (const allocation of books) {
    const { ports = [] } = detailsOf(allocation);
    const link = hostInterfaceName(attachmentOf(allocation.key));
    if (ports.length > 0) held.set(link, { link, label: allocation.label, ports, ...holderOf(allocation) });
  }

  function withdraw(link: string): void {
    if (held.delete(link)) changed();
  }

  return {
    publish(holder) {
      withdraw(holder.link);
      if (holder.ports.length === 0) return;
      for (const other of held.values())
        for (const port of holder.ports)
          if (other.ports.some((theirs) => meet(theirs, port))) throw taken(port, other);
      held.set(holder.link, holder);
      changed();
    },
    withdraw,
    missing({ link, ports }) {
      const there = held.get(link)?.ports ?? [];
      return ports
        .filter((port) => !there.some((each) => portText(each) === portText(port)))
        .map((port) => `the host port ${portText(port)} does not lead to the container`);
    },
    holders: () => [...held.keys()],
    pods: () =>
      Array.from(held.values(), ({ link, label, addresses, ports }) => ({
        pod: label ?? link,
        addresses,
        ports,
      })),
    onChange: (listener) => void listeners.push(listener),
    settle(books) {
      const known = new Set(books.list().map(({ key }) => hostInterfaceName(attachmentOf(key))));
      for (const link of [...held.keys()].filter((each) => !known.has(each))) withdraw(link);
    },
  };
}

const isAll = (hostIP: string | undefined): boolean =>
  hostIP === undefined || hostIP === '0.0.0.0' || hostIP === '::';

const meet = (a: PortMapping, b: PortMapping): boolean =>
  a.hostPort === b.hostPort &&
  a.protocol === b.protocol &&
  (isAll(a.hostIP) || isAll(b.hostIP) || a.hostIP === b.hostIP);

const taken = (port: PortMapping, { label, link }: PortHolder): HeddleError =>
  new HeddleError(
    'HostPortTaken',
    `the host port ${portText(port)} leads to ${label ?? `the container of ${link}`}`,
    {
      hint: 'end that one, or choose another host port',
    },
  );
