/** Why an address is not given, in words. */
import { HeddleError } from '../lib/errors.ts';
import type { Group } from './blocks.ts';
import type { Allocation } from './ipam.ts';
import type { Pool, Span } from './pool.ts';

export function outside(address: string, blocks: readonly Pool[]): HeddleError {
  return new HeddleError(
    'AddressOutside',
    `the address ${address} is none that can be given: expected one of ${blocks.map(({ cidr }) => cidr).join(', ')}`,
    {
      hint: 'a node gives addresses of its own blocks; the first two addresses of a block and the last of an IPv4 one are never given',
    },
  );
}

export function twice(address: string, other: string): HeddleError {
  return new HeddleError(
    'AddressOutside',
    `the addresses ${other} and ${address} are of one family: expected one at most`,
    { hint: 'a pod has one address of each family' },
  );
}

export function spanOutside({ first, last }: Span, blocks: readonly Pool[]): HeddleError {
  return new HeddleError(
    'AddressOutside',
    `the range ${first} to ${last} is not inside of ${blocks.map(({ cidr }) => cidr).join(' or ')}`,
    { hint: 'ranges that are asked for must be parts of those that are configured' },
  );
}

export function unknownPool(pool: string, known: readonly string[]): HeddleError {
  return new HeddleError('PoolUnknown', `there is no pool ${pool}: expected one of ${known.join(', ')}`, {
    hint: 'make a CiliumPodIPPool of this name, or correct the annotation ipam.cilium.io/ip-pool of the pod or its namespace',
  });
}

export function takenError(address: string, owners: readonly Allocation[]): HeddleError {
  const owner = owners.find(({ addresses }) => addresses.includes(address));
  return new HeddleError('AddressTaken', `the address ${address} belongs to ${owner?.label ?? 'another'}`, {
    hint: 'choose another, or end what has it',
  });
}

/** Those with the most addresses, by what made them: a pod of a ReplicaSet is named after it. */
export function biggestUsers(
  owners: readonly Pick<Allocation, 'label'>[],
  most = 3,
): { name: string; count: number }[] {
  const byWorkload = new Map<string, number>();
  for (const { label } of owners) {
    const workload = label.replace(/((-[a-z0-9]{5,10})?-[a-z0-9]{5}|-\d+)$/, '');
    byWorkload.set(workload, (byWorkload.get(workload) ?? 0) + 1);
  }
  return [...byWorkload]
    .sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))
    .slice(0, most)
    .map(([name, count]) => ({ name, count }));
}

export function exhausted(group: Group, owners: readonly Allocation[], spans?: readonly Span[]): HeddleError {
  const { pool, family, blocks } = group;
  const ranges = blocks.map(({ cidr }) => cidr).join(', ');
  const where = spans?.map(({ first, last }) => `${first} to ${last}`).join(', ');
  if (where !== undefined)
    return new HeddleError('AddressesExhausted', `no address left in ${where} of ${ranges}`, {
      hint: 'ask for a wider range',
    });
  const hint =
    'run fewer pods on this node, add nodes, or give the pool more addresses; the pod waits until an address is free';
  if (blocks.length === 0)
    return new HeddleError(
      'AddressesExhausted',
      `no address left in the pool ${pool}: this node has no block of IPv${family} of it yet`,
      { hint: group.grows ? 'the controllers give blocks; look at their log if it takes long' : hint },
    );
  const mine = owners.filter(({ addresses }) =>
    addresses.some((address) => blocks.some((block) => block.covers(address))),
  );
  const users = biggestUsers(mine)
    .map(({ name, count }) => `${name} (${count})`)
    .join(', ');
  const size = blocks.reduce((sum, block) => sum + block.size, 0);
  const reserved = blocks.reduce((sum, block) => sum + block.reserved, 0);
  const all = size > 0 ? `all ${size} are taken` : `all ${reserved} are reserved`;
  const more = size > 0 && reserved > 0 ? `, ${reserved} more are reserved` : '';
  const most = users === '' ? '' : `, most by ${users}`;
  return new HeddleError(
    'AddressesExhausted',
    `no address left in the pool ${pool} on this node (${ranges}): ${all}${more}${most}`,
    { hint: reserved > 0 ? `${hint}; reserved ones are in IPReservation objects` : hint },
  );
}
