/**
 * Elements of sets and maps, each with the name of the link it belongs to as comment: whoever comes later knows whose
 * they are. All of a link's come and go in one transaction.
 */
import type { Nft } from '../../kernel/nft.ts';
import { isObject } from '../../lib/json.ts';

export interface Container {
  readonly kind: 'map' | 'set';
  readonly name: string;
}

export interface Element {
  /** Name of its map or set. */
  readonly map: string;
  readonly key: string;
  /** Nothing where it is an element of a set. */
  readonly value?: string;
}

export interface Elements {
  of(link: string): readonly Element[] | undefined;
  owner(element: Element): string | undefined;
  links(): string[];
  /** `link` holds none yet, and nobody holds one of these. @throws HeddleError `Nft` */
  put(link: string, elements: readonly Element[]): void;
  /** What it held. */
  remove(link: string): readonly Element[];
  /** From the kernel, now. */
  read(link: string): Element[];
}

export interface ElementsDeps {
  readonly nft: Nft;
  /** `inet heddle-cni` */
  readonly table: string;
  readonly containers: readonly Container[];
}

export const idOf = ({ map, key }: Element): string => `${map} ${key}`;

/** Takes over what the kernel holds already. @throws HeddleError `Nft` */
export function createElements({ nft, table, containers }: ElementsDeps): Elements {
  const held = readAll();
  const owners = new Map(
    [...held].flatMap(([link, elements]) => elements.map((e) => [idOf(e), link] as const)),
  );

  function readAll(): Map<string, readonly Element[]> {
    const byLink = new Map<string, Element[]>();
    for (const { kind, name } of containers)
      for (const { link, key, value } of parseListing(nft.json(`list ${kind} ${table} ${name}`), kind))
        byLink.set(link, [
          ...(byLink.get(link) ?? []),
          { map: name, key, ...(value === undefined ? {} : { value }) },
        ]);
    return byLink;
  }

  const read = (link: string): Element[] => [...(readAll().get(link) ?? [])];

  const addition = ({ map, key, value }: Element, link: string): string =>
    `create element ${table} ${map} { ${key} comment "${link}"${value === undefined ? '' : ` : ${value}`} }`;

  const removal = ({ map, key }: Element): string => `delete element ${table} ${map} { ${key} }`;

  return {
    of: (link) => held.get(link),
    owner: (element) => owners.get(idOf(element)),
    links: () => [...held.keys()],
    put(link, elements) {
      if (elements.length === 0) return;
      nft.run(elements.map((element) => addition(element, link)).join('\n'));
      held.set(link, elements);
      for (const element of elements) owners.set(idOf(element), link);
    },
    remove(link) {
      const elements = held.get(link) ?? [];
      if (elements.length === 0) return [];
      try {
        nft.run(elements.map(removal).join('\n'));
      } catch {
        // Somebody removed some of them before us.
        const left = read(link);
        if (left.length > 0) nft.run(left.map(removal).join('\n'));
      }
      held.delete(link);
      for (const element of elements) owners.delete(idOf(element));
      return elements;
    },
    read,
  };
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
  if (isObject(value) && Array.isArray(value['concat'])) return value['concat'].map(concatenated).join(' . ');
  if (isObject(value) && isObject(value['prefix'])) {
    const { addr, len } = value['prefix'];
    return `${String(addr)}/${String(len)}`;
  }
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
