import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { killDuring } from '../testing/kills.ts';

/** A hundred of each are in test/deep. */
const ROUNDS = 5;

for (const command of ['ADD', 'DEL'] as const)
  test(`an agent that is killed during ${command} leaves nothing half made after its next start`, {
    skip: needsRoot,
  }, async (t) => {
    const { whole, nothing } = await killDuring(t, command, ROUNDS);
    assert.equal(whole + nothing, ROUNDS);
  });
