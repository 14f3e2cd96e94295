/** What can program a node's kernel, by name, and where a node remembers what it was moved to. */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DATAPATHS, type DatapathName } from '../cluster/config.ts';
import type { Backend } from '../datapath/backend.ts';
import { createNftablesBackend } from '../datapath/nftables/backend.ts';
import { NFLOG_GROUP } from '../datapath/nftables/names.ts';
import type { Movable } from '../datapath/movable.ts';
import type { Overlay } from '../datapath/overlay.ts';
import { openConntrack } from '../kernel/conntrack.ts';
import { type Nflog, openNflog } from '../kernel/nflog.ts';
import { openNft } from '../kernel/nft.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { replaceFile } from '../lib/files.ts';
import type { Log } from '../lib/log.ts';

export interface BackendsDeps {
  /** Routes between nodes are the same under every backend. */
  readonly overlay: Overlay;
  readonly log: Log;
}

export interface Backends {
  /** In this process's network namespace. @throws HeddleError where it cannot be had, by name */
  open(name: string): Backend;
  /** Records of the kernel's packet log that nobody read in time. */
  lost(): number;
}

export function createBackends({ overlay, log }: BackendsDeps): Backends {
  let nflog: Nflog | undefined;
  const openers: Partial<Record<DatapathName, () => Backend>> = {
    nftables() {
      const conntrack = openConntrack();
      return createNftablesBackend({
        nft: openNft(),
        overlay,
        deleteFlows: (filter) => conntrack.delete(filter),
        openNflog: (onPackets) => (nflog = openNflog({ group: NFLOG_GROUP, onPackets })),
        log,
      });
    },
  };
  return {
    open(name) {
      const open = openers[name as DatapathName];
      if (!open)
        throw new HeddleError('NoDatapath', `there is no data path ${name}`, {
          hint: `this build has ${Object.keys(openers).join(', ')}`,
        });
      return open();
    },
    lost: () => nflog?.stats().lost ?? 0,
  };
}

/**
 * Moves the node, and remembers in the file `path` what it was moved to: before the move, so that an agent which
 * dies in the middle finishes it.
 */
export const moveDatapath =
  (backend: Movable, path: string, log: Log) =>
  async (to: string): Promise<void> => {
    const before = backend.name;
    await remember(path, to);
    try {
      await backend.move(to);
    } catch (error) {
      await remember(path, backend.name);
      throw error;
    }
    if (before !== to) log.info('the node moved to another data path', { from: before, to });
  };

async function remember(path: string, name: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, `${name}\n`, { mode: 0o600, synced: true });
}

/** Undefined: the node has what its cluster has. */
export function rememberedDatapath(path: string): DatapathName | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return DATAPATHS.find((name) => name === text);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
