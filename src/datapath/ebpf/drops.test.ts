import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DROP_REASONS } from './drops.ts';

test('every reason of the programs has a name here, by the same number', () => {
  const header = fs.readFileSync(join(import.meta.dirname, '../../../bpf/include/drop.h'), 'utf8');
  const reasons = [...header.matchAll(/\bDROP_(\w+) = (\d+),/g)].filter(([, name]) => name !== 'REASONS');
  assert.deepEqual(
    [...DROP_REASONS].map(([number, name]) => [name.replaceAll('-', '_').toUpperCase(), number]),
    reasons.map(([, name, number]) => [name, Number(number)]),
  );
});
