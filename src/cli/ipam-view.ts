/** What nodes tell of their pods' addresses, put together. Pure. */
import type { IpamReport } from '../controllers/node/ipam-report.ts';
import { blockSize } from '../controllers/pod-blocks-ledger.ts';
import { sumByPool, type Usage } from '../ipam/blocks.ts';
import { bits, contains, type Family, parseAddress, tryParseCidr } from '../lib/ip.ts';

export interface NodeIpam {
  readonly node: string;
  readonly answer: IpamReport;
}

type Counts = Pick<Usage, 'size' | 'taken' | 'cooling' | 'kept' | 'reserved' | 'free'>;

export interface PoolRow {
  readonly pool: string;
  readonly family: 'IPv4' | 'IPv6';
  /** Empty: there is no such pool any more, but nodes have blocks of it. */
  readonly cidrs: readonly string[];
  /** Prefix length of its blocks. */
  readonly maskSize: number | null;
  /** Deleted, and waiting until no node has a block of it. */
  readonly deleting: boolean;
  readonly blocks: { readonly given: number; readonly total: number | null };
  /** What pods could have of all its blocks. */
  readonly capacity: number | null;
  /** Of the blocks that nodes have. */
  readonly given: Counts;
}

export interface BlockRow extends Counts {
  readonly node: string;
  readonly pool: string;
  readonly cidr: string;
  /** `first`: the node's from the beginning; `leaving`: nothing more is given of it. */
  readonly state: 'first' | 'given' | 'leaving';
}

export interface AddressRow {
  readonly node: string;
  readonly address: string;
  readonly pool: string | null;
  /** `sticky`: taken, and it will wait for its pod; `kept`: it waits; `cooling`: released a moment ago. */
  readonly state: 'taken' | 'sticky' | 'kept' | 'cooling';
  /** Null: nobody, it was released. */
  readonly owner: string | null;
  /** When it was released, or until when it waits. */
  readonly time: string | null;
  /** The reservation that has it. */
  readonly reservation: string | null;
}

const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4);
const countsOf = ({ size, taken, cooling, kept, reserved, free }: Counts): Counts => ({
  size,
  taken,
  cooling,
  kept,
  reserved,
  free,
});

/** By name, IPv4 first; those that exist, and those of which only blocks are left. */
export function poolRows(nodes: readonly NodeIpam[]): PoolRow[] {
  const pools = new Map(
    nodes.flatMap(({ answer }) => answer.pools.map((pool) => [pool.name, pool] as const)),
  );
  const sums = sumByPool(nodes.flatMap(({ answer }) => answer.usage));
  const names = [...new Set([...pools.keys(), ...sums.map(({ pool }) => pool)])].toSorted(byText);
  return names.flatMap((name) =>
    ([4, 6] as const).flatMap((family): PoolRow[] => {
      const pool = pools.get(name);
      const part = pool?.spec?.[family === 4 ? 'ipv4' : 'ipv6'];
      const sum = sums.find((one) => one.pool === name && familyOf(one.cidrs[0] ?? '') === family);
      if (!part && !sum) return [];
      const { cidrs = [], maskSize } = part ?? {};
      const total = maskSize === undefined ? null : blocksIn(cidrs, maskSize);
      const size = maskSize === undefined ? 0 : blockSize({ family, length: maskSize });
      return [
        {
          pool: name,
          family: `IPv${family}`,
          cidrs,
          maskSize: maskSize ?? null,
          deleting: pool?.deleting ?? false,
          blocks: { given: sum?.cidrs.length ?? 0, total },
          capacity: total === null ? null : total * size,
          given: countsOf(sum ?? { size: 0, taken: 0, cooling: 0, kept: 0, reserved: 0, free: 0 }),
        },
      ];
    }),
  );
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const blocksIn = (cidrs: readonly string[], maskSize: number): number =>
  cidrs
    .flatMap((text) => tryParseCidr(text) ?? [])
    .filter(({ family, length }) => length <= maskSize && maskSize <= bits(family))
    .reduce((sum, { length }) => sum + 2 ** (maskSize - length), 0);

/** @param first blocks that nodes have from the beginning */
export const blockRows = (nodes: readonly NodeIpam[], first: ReadonlySet<string>): BlockRow[] =>
  nodes.flatMap(({ node, answer }) =>
    answer.usage.map((usage) => ({
      node,
      pool: usage.pool,
      cidr: usage.cidr,
      ...countsOf(usage),
      state: usage.retired ? 'leaving' : first.has(usage.cidr) ? 'first' : 'given',
    })),
  );

/** Node by node, in the order of addresses. */
export const addressRows = (nodes: readonly NodeIpam[]): AddressRow[] =>
  nodes.flatMap(({ node, answer }) => {
    const row = (
      address: string,
      state: AddressRow['state'],
      owner: string | null,
      time: number | null,
    ): AddressRow => ({
      node,
      address,
      pool: answer.usage.find(({ cidr }) => isIn(cidr, address))?.pool ?? null,
      state,
      owner,
      time: time === null ? null : new Date(time).toISOString(),
      reservation: reservationOf(answer, address),
    });
    return [
      ...answer.addresses.flatMap(({ owner, addresses, sticky }) =>
        addresses.map((address) => row(address, sticky ? 'sticky' : 'taken', owner, null)),
      ),
      ...answer.kept.map(({ address, label, until }) => row(address, 'kept', label, until)),
      ...answer.cooling.map(({ address, since }) => row(address, 'cooling', null, since)),
    ].toSorted((a, b) => byAddress(a.address, b.address));
  });

function byAddress(a: string, b: string): number {
  const [first, second] = [parseAddress(a), parseAddress(b)];
  if (first.family !== second.family) return first.family - second.family;
  return first.value < second.value ? -1 : first.value > second.value ? 1 : 0;
}

function isIn(cidr: string, address: string): boolean {
  const range = tryParseCidr(cidr);
  return range !== undefined && contains(range, parseAddress(address));
}

/** A reservation may be of one address without a prefix length. */
const reservationOf = ({ reservations }: IpamReport, address: string): string | null =>
  reservations.find(({ cidrs }) => cidrs.some((cidr) => cidr === address || isIn(cidr, address)))?.name ??
  null;

/** All nodes see the same reservations; one that is behind may lack some. */
export const reservationRows = (nodes: readonly NodeIpam[]): { name: string; cidrs: readonly string[] }[] => [
  ...new Map(
    nodes.flatMap(({ answer }) =>
      answer.reservations.map(({ name, cidrs }) => [`${name} ${cidrs.join()}`, { name, cidrs }]),
    ),
  ).values(),
];
