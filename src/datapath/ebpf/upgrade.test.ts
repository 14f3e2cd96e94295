import { test } from 'node:test';
import { needsBpf } from '../../kernel/bpf/test-object.ts';
import { upgradeUnderLoad } from '../testing/upgrade.ts';

test(
  'nodes go over to another layout of maps, and back, and nothing is lost or let through',
  {
    skip: needsBpf,
    timeout: 120_000,
  },
  (t) => upgradeUnderLoad(t, { rate: 2000, connections: 200, rounds: 1, pause: 500, learning: 200 }),
);
