import { test } from 'node:test';
import { killDuring } from '../../src/cni/testing/kills.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';
const ROUNDS = 100;

for (const command of ['ADD', 'DEL'] as const)
  test(`an agent that is killed ${ROUNDS} times during ${command} leaves nothing half made after its next start`, {
    skip: !deep && 'takes minutes: npm run check:deep (not in CI)',
  }, async (t) => {
    const { whole, nothing } = await killDuring(t, command, ROUNDS);
    t.diagnostic(
      `${whole} times the container's network was whole, ${nothing} times nothing of it was there`,
    );
  });
