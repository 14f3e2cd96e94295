import assert from 'node:assert/strict';
import { test } from 'node:test';
import { share } from './flags.ts';

test('a share is a percentage or a fraction, above 0 and of half at most', () => {
  assert.equal(share('--map-memory', '0.25%'), 0.0025);
  assert.equal(share('--map-memory', '0.005'), 0.005);
  assert.equal(share('--map-memory', '50%'), 0.5);
  for (const text of ['', '0', '0%', '51%', '1', '-1%', '1 %', 'x', '.5', '1e-3'])
    assert.throws(() => share('--map-memory', text), { code: 'BadFlag' }, text);
});
