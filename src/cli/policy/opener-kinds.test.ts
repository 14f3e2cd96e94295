import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOpener, ROUTE_KINDS } from '../../policy/openings/kinds.ts';
import { OPENER_KINDS } from './opener-kinds.ts';

test('every kind that opens workloads is read of a cluster too, in a version that is known', () => {
  for (const { group, version, kind } of OPENER_KINDS)
    assert.ok(isOpener({ apiVersion: `${group}/${version}`, kind, metadata: { name: 'x' } }), kind);
  const read = OPENER_KINDS.map(({ kind }) => kind);
  for (const kind of ['Ingress', 'Gateway', 'ReferenceGrant', ...ROUTE_KINDS])
    assert.ok(read.includes(kind), kind);
});
