/** Host ports by nftables: elements of the maps of table.ts, each with its link's name as comment. */
import type { Conntrack } from '../../kernel/conntrack.ts';
import type { Nft } from '../../kernel/nft.ts';
import { HeddleError } from '../../lib/errors.ts';
import { isObject } from '../../lib/json.ts';
import { type HostPorts, type PortHolder, type PortMapping, portText } from '../host-ports.ts';
import { FAMILIES, type Family, TABLE } from './table.ts';

export interface HostPortsDeps {
  readonly nft: Nft;
  /** Of the same namespace: what UDP clients are remembered of must go when a port changes hands. */
  readonly conntrack: Pick<Conntrack, 'delete'>;
  /** Makes what this machine sends from 127.0.0.1 reach the IPv4 address. */
  readonly acceptLoopback: (address: string) => void;
}

interface Element {
  readonly map: string;
  readonly key: string;
  /** Nothing where it is an element of a set. */
  readonly value?: string;
}

const idOf = ({ map, key }: Element): string => `${map} ${key}`;
const UDP = 17;

/** Takes over what the kernel holds already. @throws HeddleError `Nft` */
export function createHostPorts({ nft, conntrack, acceptLoopback }: HostPortsDeps): HostPorts {
  /** Elements by link, and the link of each. */
  const held = new Map<string, readonly Element[]>(readElements(nft));
  const owners = new Map(
    [...held].flatMap(([link, elements]) => elements.map((e) => [idOf(e), link] as const)),
  );

  function forgetClients(ports: ReadonlySet<number>): void {
    if (ports.size === 0) return;
    conntrack.delete(({ original }) => original.protocol === UDP && ports.has(original.dstPort));
  }

  function withdraw(link: string): void {
    const elements = held.get(link);
    if (!elements) return;
    remove(nft, link, elements);
    held.delete(link);
    for (const element of elements) owners.delete(idOf(element));
    forgetClients(udpPorts(elements));
  }

  return {
    publish(holder) {
      withdraw(holder.link);
      const elements = elementsOf(holder);
      if (elements.length === 0) return;
      for (const element of elements) {
        const owner = owners.get(idOf(element));
        if (owner !== undefined) throw taken(element, owner);
      }
      for (const address of holder.addresses) if (!address.includes(':')) acceptLoopback(address);
      nft.run(elements.map((element) => addition(element, holder.link)).join('\n'));
      held.set(holder.link, elements);
      for (const element of elements) owners.set(idOf(element), holder.link);
      forgetClients(udpPorts(elements));
    },
    withdraw,
    missing(holder) {
      const there = new Map(
        (new Map(readElements(nft)).get(holder.link) ?? []).map((e) => [idOf(e), e.value]),
      );
      const lacking = (element: Element) =>
        !there.has(idOf(element)) || there.get(idOf(element)) !== element.value;
      return holder.ports
        .filter((port) => elementsOf({ ...holder, ports: [port] }).some(lacking))
        .map((port) => `the host port ${portText(port)} does not lead to the container`);
    },
    holders: () => [...held.keys()],
  };
}

/** Ports of a mapping at each of the container's addresses of the family it is for. */
function elementsOf({ ports, addresses }: PortHolder): Element[] {
  const elements = addresses.flatMap((address) => {
    const family: Family = address.includes(':') ? 6 : 4;
    const own = ports.filter(({ hostIP }) => hostIP === undefined || hostIP.includes(':') === (family === 6));
    if (own.length === 0) return [];
    return [
      ...own.map((port) => portElement(port, address, family)),
      { map: `own${family}`, key: `${address} . ${address}` },
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

const addition = ({ map, key, value }: Element, link: string): string =>
  `create element ${TABLE} ${map} { ${key} comment "${link}"${value === undefined ? '' : ` : ${value}`} }`;

const removal = ({ map, key }: Element): string => `delete element ${TABLE} ${map} { ${key} }`;

function remove(nft: Nft, link: string, elements: readonly Element[]): void {
  const commands = (those: readonly Element[]) => those.map(removal).join('\n');
  try {
    nft.run(commands(elements));
  } catch {
    // Somebody removed some of them before us.
    const left = new Map(readElements(nft)).get(link);
    if (left) nft.run(commands(left));
  }
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

/** By link, from the kernel. */
function readElements(nft: Nft): [string, Element[]][] {
  const byLink = new Map<string, Element[]>();
  for (const family of FAMILIES)
    for (const [kind, map] of [
      ['map', `ports${family}`],
      ['map', `all-ports${family}`],
      ['set', `own${family}`],
    ] as const) {
      const listed = nft.json(`list ${kind} ${TABLE} ${map}`);
      for (const { link, key, value } of parseListing(listed, kind))
        byLink.set(link, [
          ...(byLink.get(link) ?? []),
          { map, key, ...(value === undefined ? {} : { value }) },
        ]);
    }
  return [...byLink];
}

interface Listed {
  readonly link: string;
  readonly key: string;
  readonly value?: string;
}

function parseListing(listed: unknown, kind: 'map' | 'set'): Listed[] {
  const parts = isObject(listed) && Array.isArray(listed['nftables']) ? listed['nftables'] : [];
  const container: unknown = parts.find((part) => isObject(part) && part[kind]);
  const body = isObject(container) ? container[kind] : undefined;
  const elements: unknown[] = isObject(body) && Array.isArray(body['elem']) ? body['elem'] : [];
  return elements.flatMap((element) => {
    const [key, value]: unknown[] = kind === 'map' && Array.isArray(element) ? element : [element];
    const inner = isObject(key) ? key['elem'] : undefined;
    if (!isObject(inner) || typeof inner['comment'] !== 'string') return [];
    return [
      {
        link: inner['comment'],
        key: concatenated(inner['val']),
        ...(kind === 'map' ? { value: concatenated(value) } : {}),
      },
    ];
  });
}

function concatenated(value: unknown): string {
  if (isObject(value) && Array.isArray(value['concat'])) return value['concat'].map(String).join(' . ');
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
