import { test } from 'node:test';
import { killDuring } from '../../src/cni/testing/kills.ts';
import { fillDisk } from '../../src/cni/testing/full-disk.ts';
import { killMixed } from '../../src/cni/testing/mixed-kills.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';
const skip = !deep && 'takes minutes: npm run check:deep (not in CI)';
const ROUNDS = Number(process.env['HEDDLE_ROUNDS'] ?? 100);

for (const command of ['ADD', 'DEL'] as const) {
  test(`an agent that is killed ${ROUNDS} times during ${command} leaves nothing half made after its next start`, {
    skip,
  }, async (t) => {
    const { whole, nothing } = await killDuring(t, command, ROUNDS);
    t.diagnostic(
      `${whole} times the container's network was whole, ${nothing} times nothing of it was there`,
    );
  });

  for (const who of ['agent', 'heddle-cni'] as const)
    test(`${who} killed ${ROUNDS} times during ${command} of links, addresses and functions of all kinds leaves nothing`, {
      skip,
    }, async (t) => {
      const { whole, part, nothing } = await killMixed(t, { command, rounds: ROUNDS, who });
      t.diagnostic(`whole ${whole} times, in part ${part} times, and nothing of it ${nothing} times`);
    });
}

test('a full disk refuses what it has no room for, leaves nothing half made, and keeps no agent from starting', {
  skip,
}, async (t) => {
  const { refused, done } = await fillDisk(t);
  t.diagnostic(`refused ${refused} times, done ${done} times`);
});
