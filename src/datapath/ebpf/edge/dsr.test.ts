import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyState } from '../../plan/tables.ts';
import { dsrNames, dsrNumber } from './dsr.ts';

test('addresses of other nodes and of balancers have names for direct return, both families', () => {
  const state = emptyState();
  const addresses = ['10.240.0.12', 'fd00:10:240::12'];
  state.routes.set('node-2', { node: 'node-2', addresses, podCidrs: ['10.244.2.0/24'] });
  const { byNumber, clashes } = dsrNames(state);
  assert.deepEqual([...byNumber.values()], addresses);
  assert.deepEqual(clashes, []);
  for (const number of byNumber.keys()) assert.ok(number >= 0 && number < 2 ** 28);
});

test('two addresses of one number are both left out, and told', () => {
  const seen = new Map<number, string>();
  let pair: [string, string] | undefined;
  for (let i = 1; !pair; i++) {
    const word = (Math.imul(i, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0');
    const address = `fd00::${word.slice(0, 4)}:${i.toString(16).slice(-4)}:${word.slice(4)}`;
    const other = seen.get(dsrNumber(address));
    if (other !== undefined) pair = [other, address];
    seen.set(dsrNumber(address), address);
  }
  const state = emptyState();
  state.routes.set('node-2', { node: 'node-2', addresses: pair, podCidrs: [] });
  const { byNumber, clashes } = dsrNames(state);
  assert.deepEqual(clashes, [pair]);
  assert.equal(byNumber.size, 0);
});
