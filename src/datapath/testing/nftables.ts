/** The nftables backend in a lab's node, with what it sends laid open. */
import type { TestContext } from 'node:test';
import { openConntrack } from '../../kernel/conntrack.ts';
import { openNflog } from '../../kernel/nflog.ts';
import { openNft } from '../../kernel/nft.ts';
import { silentLog } from '../../lib/log.ts';
import type { Backend } from '../backend.ts';
import { createNftablesBackend, type NftablesDeps } from '../nftables/backend.ts';
import { NFLOG_GROUP } from '../nftables/names.ts';
import { createOverlay } from '../overlay.ts';
import type { LabNode } from './lab.ts';

export interface OpenedNftables extends Backend {
  /** Transactions that were sent, listings left out. */
  readonly sent: string[];
  /** Runs nft commands by hand. */
  byHand(commands: string): string;
}

export function openNftables(
  t: Pick<TestContext, 'after'>,
  node: LabNode,
  use: Pick<NftablesDeps, 'table' | 'services' | 'relayed'> = {},
): OpenedNftables {
  const { ns, route, settings } = node;
  const [nft, hand, conntrack] = [openNft(ns), openNft(ns), openConntrack(ns)];
  const sent: string[] = [];
  const backend = createNftablesBackend({
    ...use,
    nft: {
      ...nft,
      run(commands) {
        if (!commands.startsWith('list ')) sent.push(commands);
        return nft.run(commands);
      },
    },
    neighbours: { route },
    overlay: createOverlay(route, { vni: 72, port: 4789, mtu: 1450, nodeAddresses: settings.nodeAddresses }),
    deleteFlows: (filter) => conntrack.delete(filter),
    listFlows: () => conntrack.list(),
    addFlows: (connections) => conntrack.add(connections),
    openNflog: (onPackets) => openNflog({ ns, group: NFLOG_GROUP, onPackets }),
    log: silentLog,
  });
  t.after(() => {
    backend.close();
    hand.close();
    conntrack.close();
  });
  return { ...backend, sent, byHand: (commands) => hand.run(commands) };
}
