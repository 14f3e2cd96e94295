import { test } from 'node:test';
import { upgradeUnderLoad } from '../../src/datapath/testing/upgrade.ts';
import { needsBpf } from '../../src/kernel/bpf/test-object.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';

test(
  '10,000 datagrams a second and 1,000 connections: none lost while nodes go to another layout and back',
  {
    skip: needsBpf || (deep ? false : 'takes a minute: npm run check:deep (not in CI)'),
    timeout: 240_000,
  },
  (t) =>
    upgradeUnderLoad(t, {
      rate: 10_000,
      connections: 1000,
      rounds: 3,
      pause: 1500,
      learning: 500,
    }),
);
