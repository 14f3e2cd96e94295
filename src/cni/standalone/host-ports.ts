/** Host ports by nftables: elements of the maps of table.ts, each with its link's name as comment. */
import type { Conntrack } from '../../kernel/conntrack.ts';
import type { Nft } from '../../kernel/nft.ts';
import { HeddleError } from '../../lib/errors.ts';
import { type HostPorts, type PortHolder, type PortMapping, portText } from '../host-ports.ts';
import { createElements, type Element, idOf } from './elements.ts';
import { FAMILIES, type Family, TABLE } from './table.ts';

export interface KernelHostPorts extends HostPorts {
  /** As it was published, as far as rules tell. */
  held(link: string): PortHolder;
}

export interface HostPortsDeps {
  readonly nft: Nft;
  /** Of the same namespace: what UDP clients are remembered of must go when a port changes hands. */
  readonly conntrack: Pick<Conntrack, 'delete'>;
  /** Makes what this machine sends from 127.0.0.1 reach the IPv4 address. */
  readonly acceptLoopback: (address: string) => void;
}

const UDP = 17;

const containers = FAMILIES.flatMap((family) => [
  { kind: 'map', name: `ports${family}` } as const,
  { kind: 'map', name: `all-ports${family}` } as const,
  { kind: 'set', name: `own${family}` } as const,
  { kind: 'set', name: `near${family}` } as const,
]);

/** Takes over what the kernel holds already. @throws HeddleError `Nft` */
export function createHostPorts({ nft, conntrack, acceptLoopback }: HostPortsDeps): KernelHostPorts {
  const held = createElements({ nft, table: TABLE, containers });

  function forgetClients(ports: ReadonlySet<number>): void {
    if (ports.size === 0) return;
    conntrack.delete(({ original }) => original.protocol === UDP && ports.has(original.dstPort));
  }

  const withdraw = (link: string): void => forgetClients(udpPorts(held.remove(link)));

  return {
    publish(holder) {
      withdraw(holder.link);
      const elements = elementsOf(holder);
      if (elements.length === 0) return;
      for (const element of elements) {
        const owner = held.owner(element);
        if (owner !== undefined) throw taken(element, owner);
      }
      for (const address of holder.addresses) if (!address.includes(':')) acceptLoopback(address);
      held.put(holder.link, elements);
      forgetClients(udpPorts(elements));
    },
    withdraw,
    missing(holder) {
      const there = new Map(held.read(holder.link).map((e) => [idOf(e), e.value]));
      const lacking = (element: Element) =>
        !there.has(idOf(element)) || there.get(idOf(element)) !== element.value;
      return holder.ports
        .filter((port) => elementsOf({ ...holder, ports: [port] }).some(lacking))
        .map((port) => `the host port ${portText(port)} does not lead to the container`);
    },
    holders: () => held.links(),
    held: (link) => holderFrom(link, held.of(link) ?? []),
  };
}

function holderFrom(link: string, elements: readonly Element[]): PortHolder {
  const keys = (prefix: string) =>
    elements.flatMap(({ map, key }) => (map.startsWith(prefix) ? [key.split(' . ')] : []));
  const all = Map.groupBy(
    elements.filter(({ map }) => map.startsWith('all-ports')),
    ({ key, value }) => `${key} . ${value?.split(' . ')[1]}`,
  );
  return {
    link,
    ports: [
      ...elements.flatMap(({ map, key, value }) => {
        const [hostIP = '', protocol = '', hostPort] = key.split(' . ');
        return map.startsWith('ports') ? [portOf({ hostIP, protocol, hostPort, value })] : [];
      }),
      ...[...all.values()].map((same) => {
        const [{ map, key, value } = { map: '', key: '', value: '' }] = same;
        const [protocol = '', hostPort] = key.split(' . ');
        const hostIP = same.length > 1 ? undefined : map.endsWith('6') ? '::' : '0.0.0.0';
        return portOf({ hostIP, protocol, hostPort, value });
      }),
    ],
    addresses: keys('own').map(([address = '']) => address),
    networks: keys('near').map(([network = '']) => network),
  };
}

function portOf({
  hostIP,
  protocol,
  hostPort,
  value,
}: {
  hostIP: string | undefined;
  protocol: string;
  hostPort: string | undefined;
  value: string | undefined;
}): PortMapping {
  return {
    hostPort: Number(hostPort),
    containerPort: Number(value?.split(' . ')[1]),
    protocol: protocol === 'udp' || protocol === 'sctp' ? protocol : 'tcp',
    ...(hostIP === undefined ? {} : { hostIP }),
  };
}

/** Ports of a mapping at each of the container's addresses of the family it is for. */
function elementsOf({ ports, addresses, networks = [] }: PortHolder): Element[] {
  const elements = addresses.flatMap((address) => {
    const family: Family = address.includes(':') ? 6 : 4;
    const own = ports.filter(({ hostIP }) => hostIP === undefined || hostIP.includes(':') === (family === 6));
    if (own.length === 0) return [];
    return [
      ...own.map((port) => portElement(port, address, family)),
      { map: `own${family}`, key: `${address} . ${address}` },
      ...networks
        .filter((network) => network.includes(':') === (family === 6))
        .map((network) => ({ map: `near${family}`, key: `${network} . ${address}` })),
    ];
  });
  return [...new Map(elements.map((element) => [idOf(element), element])).values()];
}

function portElement(
  { hostIP, protocol, hostPort, containerPort }: PortMapping,
  address: string,
  family: Family,
) {
  const key = `${protocol} . ${hostPort}`;
  const value = `${address} . ${containerPort}`;
  return hostIP === undefined || hostIP === '0.0.0.0' || hostIP === '::'
    ? { map: `all-ports${family}`, key, value }
    : { map: `ports${family}`, key: `${hostIP} . ${key}`, value };
}

const udpPorts = (elements: readonly Element[]): Set<number> =>
  new Set(
    elements.flatMap(({ key }) => {
      const [protocol, port] = key.split(' . ').slice(-2);
      return protocol === 'udp' ? [Number(port)] : [];
    }),
  );

const taken = ({ key }: Element, owner: string): HeddleError =>
  new HeddleError('HostPortTaken', `the host port ${key} leads to another container, by the link ${owner}`, {
    hint: 'end that container, or choose another host port',
  });
