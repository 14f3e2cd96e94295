import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Node } from '../api/types.ts';
import { contains, firstOf, lastOf, overlaps, parseCidr } from '../lib/ip.ts';
import { planRanges } from './node-ranges-plan.ts';
import { readyNode } from './testing.ts';

const ranges = [parseCidr('10.244.0.0/21'), parseCidr('fd00:10:244::/60')];
const nothing = new Map<string, readonly string[]>();

test('nodes keep what they have and never overlap, until the ranges are exhausted', () => {
  const own = fc.option(
    fc.nat(9).map((i) => [`10.244.${i}.0/24`, `fd00:10:244:${i}::/64`]),
    { nil: undefined },
  );
  fc.assert(
    fc.property(fc.array(own, { maxLength: 12 }), (given) => {
      const nodes = given.map((podCIDRs, i): Node => readyNode(`node-${i}`, podCIDRs ? { podCIDRs } : {}));
      const has = new Set(nodes.flatMap((node) => node.spec?.podCIDRs ?? []));
      const decisions = planRanges({ ranges, meant: nothing, nodes });
      const given4 = decisions.flatMap((one) => ('podCidrs' in one ? one.podCidrs : []));
      const all = [...has, ...given4].map(parseCidr);
      for (const [i, a] of all.entries()) for (const b of all.slice(i + 1)) assert.ok(!overlaps(a, b));
      for (const cidr of given4.map(parseCidr)) {
        const range = ranges.find((one) => one.family === cidr.family)!;
        assert.ok(contains(range, firstOf(cidr)) && contains(range, lastOf(cidr)));
      }
      assert.equal(decisions.length, given.filter((one) => !one).length);
      const used = [...has]
        .map(parseCidr)
        .filter((one) => one.family === 4 && contains(ranges[0]!, firstOf(one)));
      const free = 8 - used.length;
      assert.equal(decisions.filter((one) => 'podCidrs' in one).length, Math.min(free, decisions.length));
    }),
  );
});

test('a node gets the ranges meant for it, and nobody else does', () => {
  const meant = new Map([['node-1', ['10.244.0.0/24', 'fd00:10:244::/64']]]);
  const decisions = planRanges({ ranges, meant, nodes: [readyNode('stranger'), readyNode('node-1')] });
  const byName = new Map(
    decisions.map((one) => [one.node.metadata.name, 'podCidrs' in one ? one.podCidrs : []]),
  );
  assert.deepEqual(byName.get('node-1'), ['10.244.0.0/24', 'fd00:10:244::/64']);
  assert.deepEqual(byName.get('stranger'), ['10.244.1.0/24', 'fd00:10:244:1::/64']);
});

test('a node for which a family has nothing left gets nothing, and is told which', () => {
  const small = [parseCidr('10.244.0.0/24'), parseCidr('fd00::/63')];
  const decisions = planRanges({ ranges: small, meant: nothing, nodes: [readyNode('a'), readyNode('b')] });
  assert.deepEqual(
    decisions.map((one) => ('exhausted' in one ? one.exhausted : 'ok')),
    ['ok', ['10.244.0.0/24']],
  );
});
