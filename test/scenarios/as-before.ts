/** That a cluster leaves the machine as it was. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { difference, type Inventory, takeInventory } from '../../src/cluster/snapshot.ts';
import type { LocalCluster } from './local-cluster.ts';

type Which = Pick<LocalCluster, 'dataDir' | 'paths'>;

/** Of the machine itself, whoever else makes namespaces on it meanwhile, and of this cluster. */
export function concerns({ dataDir, paths }: Which): (line: string) => boolean {
  const shared = ['links', 'addresses', 'routes', 'routingTables', 'tables', 'sysctls'];
  return (line) =>
    shared.some((part) => line.slice(2).startsWith(`${part}:`)) ||
    line.includes(paths.id) ||
    line.includes(dataDir);
}

/** Nothing of the cluster is left, and the machine is as it was. */
export async function assertAsBefore(before: Inventory, cluster: Which): Promise<void> {
  let rest: string[] = [];
  for (let tries = 0; tries < 600; tries++) {
    rest = difference(before, takeInventory(), concerns(cluster));
    if (rest.length === 0) break;
    await sleep(100);
  }
  assert.deepEqual(rest, []);
}
