import { type TestContext, test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { type Opened, packetContract, stateContract } from '../testing/contract.ts';
import { openIptables } from '../testing/iptables.ts';
import { createLab, type LabNode } from '../testing/lab.ts';

for (const variant of ['nft', 'legacy'] as const) {
  const open = (t: TestContext, node: LabNode): Opened => {
    const backend = openIptables(variant)(t, node);
    return { backend, sent: backend.sent, reopen: () => open(t, node) };
  };
  stateContract(`iptables-${variant}`, (t) => open(t, createLab(t, 1).nodes[0]!), { skip: needsRoot });
  if (variant === 'nft' || process.env['HEDDLE_DEEP'] === '1')
    packetContract(`iptables-${variant}`, openIptables(variant));
  else
    test(`iptables-${variant}: what every backend carries`, {
      skip: 'the rules are those of iptables-nft, which runs here: npm run check:deep (not in CI)',
    });
}
