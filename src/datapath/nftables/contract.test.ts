import type { TestContext } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { type Opened, packetContract, stateContract } from '../testing/contract.ts';
import { createLab, type LabNode } from '../testing/lab.ts';
import { openNftables } from '../testing/nftables.ts';

function open(t: TestContext, node: LabNode): Opened {
  const backend = openNftables(t, node);
  return { backend, sent: () => backend.sent.length, reopen: () => open(t, node) };
}

stateContract('nftables', (t) => open(t, createLab(t, 1).nodes[0]!), { skip: needsRoot });
packetContract('nftables', openNftables);
