import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAddress } from '../../lib/ip.ts';
import { worlds } from '../testing/arbitraries.ts';
import type { World } from '../world.ts';
import { type Connection, connectivity, isWorkload, type Party } from './connectivity.ts';
import { diff } from './diff.ts';
import { createEstate } from './estate.ts';
import { createPortSets, type PortSet } from './port-set.ts';

const estateOf = (world: World) => createEstate(world, () => undefined);

/** The second world has the pods of the first but for some, and other policies. */
const pairs = fc.tuple(worlds, worlds, fc.boolean()).map(([a, b, fewer]): [World, World] => [
  a,
  {
    ...a,
    policies: [...a.policies.slice(1), ...b.policies.slice(1)],
    pods: fewer ? a.pods.slice(1) : a.pods,
  },
]);

const name = (party: Party) => (isWorkload(party) ? `${party.namespace}/${party.name}` : '*');

/** What a list of connections says of one pair at one address. */
function at(list: readonly Connection[], src: string, dst: string, value: bigint, none: PortSet): PortSet {
  const holds = (party: Party) =>
    isWorkload(party) || (parseAddress(party.from).value <= value && value <= parseAddress(party.to).value);
  const found = list.find(
    (each) => name(each.src) === src && name(each.dst) === dst && holds(each.src) && holds(each.dst),
  );
  return found?.set ?? none;
}

test('before and after of a difference are what connectivity says of both worlds, and what is equal is not told', () => {
  fc.assert(
    fc.property(pairs, ([a, b]) => {
      const sets = createPortSets();
      const [before, after] = [a, b].map(estateOf) as [
        ReturnType<typeof estateOf>,
        ReturnType<typeof estateOf>,
      ];
      const [was, is] = [before, after].map((estate) => [...connectivity(estate, { sets })]) as [
        Connection[],
        Connection[],
      ];
      const changes = [...diff(before, after, { sets })];
      const told = {
        was: changes.map((c) => ({ ...c, set: c.before })),
        is: changes.map((c) => ({ ...c, set: c.after })),
      };
      const values = [...was, ...is, ...told.was].flatMap(({ src, dst }) =>
        [src, dst].flatMap((p) =>
          isWorkload(p) ? [] : [parseAddress(p.from).value, parseAddress(p.to).value],
        ),
      );
      const keys = new Set([...was, ...is].map(({ src, dst }) => `${name(src)} ${name(dst)}`));
      for (const key of keys) {
        const [src = '', dst = ''] = key.split(' ');
        for (const value of key.includes('*') ? new Set(values) : [0n]) {
          const [old, now] = [at(was, src, dst, value, sets.none), at(is, src, dst, value, sets.none)];
          const isTold = changes.some(
            (c) => at([{ ...c, set: sets.all }], src, dst, value, sets.none) === sets.all,
          );
          assert.equal(isTold, old !== now, `${key} ${value}`);
          if (!isTold) continue;
          assert.equal(at(told.was, src, dst, value, sets.none), old);
          assert.equal(at(told.is, src, dst, value, sets.none), now);
        }
      }
      for (const change of changes) assert.ok(keys.has(`${name(change.src)} ${name(change.dst)}`));
    }),
    { numRuns: 100 },
  );
});
