/** Tables of `heddle ipam`. */
import type { AddressRow, BlockRow, PoolRow } from './ipam-view.ts';
import { plainTable } from './plain-table.ts';

const lines = (all: readonly string[]): string => `${all.join('\n')}\n`;

/** What is too much for digits is about a power of two. */
export const countText = (count: number): string =>
  count > 2 ** 32 ? `2^${Math.round(Math.log2(count))}` : String(count);

const shareText = (part: number, whole: number): string =>
  `${countText(part)} (${whole === 0 ? 0 : Math.round((100 * part) / whole)}%)`;

interface Shown {
  readonly pools: readonly PoolRow[];
  readonly users: readonly { workload: string; pods: number }[];
  readonly reservations: readonly { name: string; cidrs: readonly string[] }[];
}

/** What is taken, and what is left of the whole pool, blocks that no node has yet included. */
export function showText({ pools, users, reservations }: Shown): string {
  if (pools.length === 0) return 'no pool of addresses\n';
  const rows = pools.map(({ pool, family, cidrs, capacity, given, deleting }) => {
    const total = capacity ?? given.size + given.reserved;
    const left = total - (given.size + given.reserved - given.free);
    return [
      deleting ? `${pool} (deleted)` : pool,
      family,
      cidrs.join(',') || '-',
      countText(total),
      shareText(given.taken, total),
      shareText(left, total),
    ];
  });
  const table = plainTable([['POOL', 'FAMILY', 'CIDR', 'IPS TOTAL', 'IPS IN USE', 'IPS FREE'], ...rows]);
  const most = users.map(({ workload, pods }) => [workload, pods]);
  const aside = reservations.map(({ name, cidrs }) => [name, cidrs.join(',')]);
  return lines([
    ...table,
    ...(most.length > 0 ? ['', ...plainTable([['WORKLOAD', 'PODS'], ...most])] : []),
    ...(aside.length > 0 ? ['', ...plainTable([['RESERVATION', 'CIDR'], ...aside])] : []),
  ]);
}

const COUNTS = ['SIZE', 'TAKEN', 'COOLING', 'KEPT', 'RESERVED', 'FREE'];
const counts = ({ size, taken, cooling, kept, reserved, free }: PoolRow['given']): string[] =>
  [size, taken, cooling, kept, reserved, free].map(countText);

export function poolsText(pools: readonly PoolRow[]): string {
  if (pools.length === 0) return 'no pool of addresses\n';
  const rows = pools.map(({ pool, family, cidrs, maskSize, blocks, given, deleting }) => [
    deleting ? `${pool} (deleted)` : pool,
    family,
    cidrs.join(',') || '-',
    maskSize === null ? '-' : `/${maskSize}`,
    blocks.total === null ? String(blocks.given) : `${blocks.given} of ${countText(blocks.total)}`,
    ...counts(given),
  ]);
  return lines(plainTable([['POOL', 'FAMILY', 'CIDR', 'BLOCK', 'BLOCKS', ...COUNTS], ...rows]));
}

export function blocksText(blocks: readonly BlockRow[]): string {
  if (blocks.length === 0) return 'no blocks\n';
  const rows = blocks.map((row) => [row.node, row.pool, row.cidr, row.state, ...counts(row)]);
  return lines(plainTable([['NODE', 'POOL', 'CIDR', 'STATE', ...COUNTS], ...rows]));
}

/** @param ip the one that was asked for */
export function addressesText(addresses: readonly AddressRow[], ip: string | undefined): string {
  if (addresses.length === 0)
    return ip === undefined ? 'no address is in use\n' : `${ip} is not in use by any pod of these nodes\n`;
  const rows = addresses.map(({ node, address, pool, state, owner, time, reservation }) => [
    node,
    address,
    pool ?? '-',
    state,
    owner ?? '-',
    time === null ? '-' : `${state === 'kept' ? 'until' : 'since'} ${time}`,
    reservation ?? '-',
  ]);
  return lines(plainTable([['NODE', 'ADDRESS', 'POOL', 'STATE', 'OWNER', 'TIME', 'RESERVATION'], ...rows]));
}
