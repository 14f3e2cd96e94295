/** A machine that is short of something takes no pods: said before a cluster is made, and in place of a wait for them. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { DEFAULT_THRESHOLDS, SIGNALS, type Thresholds } from '../api/eviction.ts';
import { NODE, POD } from '../api/kinds.ts';
import { shortagesOf } from '../api/shortage.ts';
import type { Node } from '../api/types.ts';
import type { Client } from '../client/types.ts';
import type { Clock } from '../lib/clock.ts';
import { HeddleError } from '../lib/errors.ts';
import { type MachineRoom, readMachineRoom } from '../lib/machine-room.ts';

/** Milliseconds of a shortage of all nodes after which nobody waits for pods any more: it may be a short one. */
const PATIENCE = 15_000;

const hintOf = (dataDir: string): string =>
  `make room (the cluster is in ${dataDir}; "heddle image list" shows what images take), or set other limits: --eviction-hard none`;

/**
 * Before anything is made. What cannot be read is left to the nodes to tell.
 * @throws HeddleError `MachineShort`
 */
export async function checkRoom(
  dataDir: string,
  thresholds: Thresholds = DEFAULT_THRESHOLDS,
  read: (folder: string) => Promise<MachineRoom> = readMachineRoom,
): Promise<void> {
  const room = await read(standing(dataDir)).catch(() => undefined);
  const short = room ? shortagesOf(SIGNALS, thresholds, room) : [];
  if (short.length === 0) return;
  throw new HeddleError('MachineShort', `no node would take pods: ${short.join('; ')}`, {
    hint: hintOf(dataDir),
  });
}

/** The folder, or the nearest above that is there. */
function standing(folder: string): string {
  return existsSync(folder) || dirname(folder) === folder ? folder : standing(dirname(folder));
}

/** Throws `MachineShort` when pods wait for a node, and for a while no node has taken any. */
export function watchShortage(client: Client, dataDir: string, clock: Clock): () => Promise<void> {
  let since: number | undefined;
  return async () => {
    const { items } = await client.list(NODE);
    const why = items.map(shortageOf);
    if (why.length === 0 || why.includes(undefined) || !(await somePodWaits(client))) {
      since = undefined;
      return;
    }
    since ??= clock.monotonic();
    if (clock.monotonic() - since < PATIENCE) return;
    throw new HeddleError('MachineShort', `no node takes pods: ${why[0]}`, { hint: hintOf(dataDir) });
  };
}

const shortageOf = ({ status }: Node): string | undefined =>
  status?.conditions?.find(
    ({ type, status: is }) => /^(Memory|Disk|PID)Pressure$/.test(type) && is === 'True',
  )?.message;

async function somePodWaits(client: Client): Promise<boolean> {
  const { items } = await client.list(POD);
  return items.some(({ spec, status }) => !spec?.nodeName && status?.phase === 'Pending');
}
