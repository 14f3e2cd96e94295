import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Settings } from '../../plan/tables.ts';
import { loopbackFor } from './loopback.ts';

const settings = { nodeAddresses: ['10.240.0.11', 'fd00:10:240::11'] } as unknown as Settings;

test('loopback stands for the first address of the node, unless node ports are limited to some', () => {
  assert.equal(loopbackFor(settings, 4), '10.240.0.11');
  assert.equal(loopbackFor(settings, 6), 'fd00:10:240::11');
  assert.equal(loopbackFor({ ...settings, nodeAddresses: ['fd00:10:240::11'] }, 4), undefined);
  assert.equal(loopbackFor({ ...settings, nodePortAddresses: ['10.240.0.11'] }, 4), undefined);
  assert.equal(loopbackFor(undefined, 4), undefined);
});
