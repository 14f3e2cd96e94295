import type { TestContext } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { type Opened, packetContract, stateContract } from '../testing/contract.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { createLab, type LabNode } from '../testing/lab.ts';

function open(t: TestContext, node: LabNode): Opened {
  const backend = openEbpf(t, node);
  return { backend, sent: () => backend.sent(), reopen: () => open(t, node) };
}

stateContract('ebpf', (t) => open(t, createLab(t, 1).nodes[0]!), { skip: needsRoot });
packetContract('ebpf', openEbpf);
