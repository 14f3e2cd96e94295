import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile, createCompiler } from './compile.ts';
import { createDecider } from './decide.ts';
import type { Side } from './decision.ts';
import { createLookup } from './lookup.ts';
import { assignNumbers, createNumberer } from './numbers.ts';
import type { PolicyTable, PolicyTables } from './tables.ts';
import { flowsIn, namespacedWorlds, policyObject, stagedWorlds, worlds } from './testing/arbitraries.ts';
import { mixedWorlds } from './testing/plain-worlds.ts';
import { wireFlow } from './wire-flow.ts';
import type { World } from './world.ts';

const drawsOf = (from: fc.Arbitrary<World>) =>
  from.chain((world) =>
    fc.array(flowsIn(world), { minLength: 10, maxLength: 10 }).map((flows) => ({ world, flows })),
  );
const anyWorlds = fc.oneof(stagedWorlds, mixedWorlds);
const draws = drawsOf(fc.oneof(worlds, anyWorlds));
/** Of NetworkPolicies alone: these only ever add up. */
const additive = drawsOf(namespacedWorlds);

const sorted = (tables: PolicyTables): unknown => {
  const pairs = <V>(map: ReadonlyMap<string | number, V>) =>
    [...map].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  return {
    identities: pairs(tables.identities),
    endpoints: pairs(tables.endpoints),
    tables: pairs(tables.tables),
    rules: pairs(tables.rules),
  };
};

test('the order of pods, namespaces and policies changes no number and no entry', () => {
  fc.assert(
    fc.property(stagedWorlds, (world) => {
      const reversed: World = {
        ...world,
        pods: [...world.pods].reverse(),
        namespaces: [...world.namespaces].reverse(),
        policies: [...world.policies].reverse(),
      };
      assert.deepEqual(sorted(compile(reversed)), sorted(compile(world)));
    }),
    { numRuns: 300 },
  );
});

test('a compiler that has seen other worlds gives what a fresh one gives', () => {
  const compiler = createCompiler();
  fc.assert(
    fc.property(anyWorlds, (world) => assert.deepEqual(sorted(compiler(world)), sorted(compile(world)))),
    { numRuns: 200 },
  );
});

const CHANGING = ['pods', 'policies', 'namespaces', 'nodes', 'serviceAccounts', 'names'] as const;

test('a compiler that is told of one change after another gives what a fresh one gives', () => {
  const changes = fc.array(fc.tuple(anyWorlds, fc.nat(), fc.constantFrom(...CHANGING)), {
    minLength: 3,
    maxLength: 8,
  });
  fc.assert(
    fc.property(anyWorlds, changes, (first, steps) => {
      const compiler = createCompiler();
      let world = first;
      compiler(world);
      for (const [other, at, field] of steps) {
        world = changed(world, other, at, field);
        assert.deepEqual(sorted(compiler(world)), sorted(compile(world)));
      }
    }),
    { numRuns: 300 },
  );
});

/** One item of a list is replaced by one of another world, or added or left out; the rest are the same objects. */
function changed(world: World, other: World, at: number, field: (typeof CHANGING)[number]): World {
  const list: readonly unknown[] = world[field] ?? [];
  const place = at % (list.length + 1);
  const theirs: readonly unknown[] = other[field] ?? [];
  const come = theirs.slice(0, at % 3 === 0 ? 0 : 1);
  return { ...world, [field]: [...list.slice(0, place), ...come, ...list.slice(place + 1)] };
}

test('what a change does not touch is the very same object in the next tables', () => {
  const policy = (name: string, app: string, port: number) =>
    policyObject('default', name, {
      podSelector: { matchLabels: { app } },
      ingress: [{ ports: [{ port }] }],
    });
  const pods = ['a', 'b'].map((app, i) => ({
    namespace: 'default',
    name: app,
    node: 'node-1',
    labels: { app },
    addresses: [`10.0.0.${i + 1}`],
    ports: [],
  }));
  const world: World = {
    pods,
    namespaces: [],
    nodes: [],
    policies: [policy('a', 'a', 80), policy('b', 'b', 80)],
  };
  const compiler = createCompiler();
  const before = compiler(world);
  const after = compiler({ ...world, policies: [world.policies[0]!, policy('b', 'b', 81)] });
  const tableOf = (tables: PolicyTables, address: string) =>
    tables.tables.get(tables.endpoints.get(address)!.ingress);
  assert.equal(tableOf(after, '10.0.0.1'), tableOf(before, '10.0.0.1'));
  assert.notEqual(tableOf(after, '10.0.0.2'), tableOf(before, '10.0.0.2'));
});

test('numbers that are held one by one are those of the whole set, and a number that moves is said to', () => {
  // So few numbers that they clash all the time, 0 and the last one among them.
  const hash = (text: string) =>
    (text.length * 7 + text.charCodeAt(0)) % 9 === 8 ? 0xffffffff : (text.charCodeAt(0) % 5) * 2;
  const texts = fc.string({ minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(fc.tuple(texts, fc.boolean()), { maxLength: 40 }), (steps) => {
      const numberer = createNumberer(hash);
      const held = new Map<string, number>();
      let before = new Map<string, number>();
      let epoch = numberer.epoch();
      for (const [text, comes] of steps) {
        const count = held.get(text) ?? 0;
        if (comes) {
          numberer.retain(text);
          held.set(text, count + 1);
        } else if (count > 0) {
          numberer.release(text);
          if (count === 1) held.delete(text);
          else held.set(text, count - 1);
        }
        const want = assignNumbers(held.keys(), hash);
        for (const [each, number] of want) assert.equal(numberer.number(each), number, each);
        const moved = [...want].some(([each, number]) => before.has(each) && before.get(each) !== number);
        if (moved) assert.ok(numberer.epoch() > epoch);
        epoch = numberer.epoch();
        before = want;
      }
    }),
    { numRuns: 1000 },
  );
});

test('tables for one node are the tables of the whole world for its pods', () => {
  fc.assert(
    fc.property(draws, ({ world, flows }) => {
      const whole = compile(world);
      const part = compile(world, { onlyNode: 'node-1' });
      const here = [...whole.endpoints].filter(([, endpoint]) => endpoint.node === 'node-1');
      assert.deepEqual(new Map(part.endpoints), new Map(here));
      for (const [number, table] of part.tables)
        assert.equal(whole.tables.get(number)?.defaultRule, table.defaultRule);
      for (const [number, rule] of part.rules) assert.deepEqual(whole.rules.get(number), rule);
      const [lookWhole, lookPart] = [createLookup(whole), createLookup(part)];
      for (const flow of flows.map((f) => wireFlow(world, f))) {
        const [a, b] = [lookWhole(flow), lookPart(flow)];
        if (part.endpoints.has(flow.src)) assert.deepEqual(b.egress, a.egress);
        if (part.endpoints.has(flow.dst)) assert.deepEqual(b.ingress, a.ingress);
      }
    }),
    { numRuns: 500 },
  );
});

test('port ranges of one identity and protocol are disjoint, and an entry has ports if and only if it has a protocol', () => {
  const check = (table: PolicyTable) => {
    const byKey = Map.groupBy(table.entries, (e) => `${e.identity} ${e.protocol}`);
    for (const entries of byKey.values()) {
      const ranges = entries.map((e) => e.ports ?? [0, 65535]).sort((a, b) => a[0] - b[0]);
      for (const [i, [first, last]] of ranges.entries()) {
        assert.ok(first <= last);
        if (i > 0) assert.ok(ranges[i - 1]![1] < first);
      }
    }
    for (const { protocol, ports } of table.entries) assert.equal(protocol === null, ports === null);
  };
  fc.assert(
    fc.property(anyWorlds, (world) => compile(world).tables.forEach(check)),
    { numRuns: 300 },
  );
});

const hasEverything = ({ entries }: PolicyTable): boolean =>
  entries.some(({ identity, protocol }) => identity === 0 && protocol === null);

test('every number in the tables is known, 32 bits and not 0', () => {
  fc.assert(
    fc.property(anyWorlds, (world) => {
      const { tables, rules, endpoints } = compile(world);
      const numbers = [...tables.keys(), ...rules.keys()];
      for (const number of numbers) assert.ok(number > 0 && number <= 0xffffffff);
      for (const table of tables.values()) {
        assert.ok(rules.has(table.defaultRule) || (table.defaultRule === 0 && hasEverything(table)));
        for (const { rule, verdict, audit } of table.entries) {
          assert.ok(rules.has(rule) || (rule === 0 && verdict !== 'deny'));
          // A data path may go by the rule alone.
          const does = rules.get(rule)?.verdict ?? 'allow';
          assert.equal(verdict === 'audit-deny' ? 'allow' : verdict, does);
          if (audit) assert.ok(audit.rule !== rule && (rules.has(audit.rule) || audit.rule === 0));
        }
      }
      for (const { ingress, egress } of endpoints.values())
        for (const number of [ingress, egress]) assert.ok(number === 0 || tables.has(number));
    }),
    { numRuns: 300 },
  );
});

test('texts whose numbers collide get different ones, the same in every order', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 20 }),
      fc.constantFrom(0, 7, 0xffffffff),
      (texts, same) => {
        const numbers = assignNumbers(texts, () => same);
        assert.equal(new Set(numbers.values()).size, texts.length);
        assert.ok(![...numbers.values()].includes(0));
        const again = assignNumbers([...texts].reverse(), () => same);
        for (const text of texts) assert.equal(again.get(text), numbers.get(text));
      },
    ),
  );
});

test('a policy more never denies what was allowed at a pod that was isolated already', () => {
  const wasDecided = (side: Side) => side.reason === 'rule' || side.reason === 'default-deny';
  fc.assert(
    fc.property(additive, ({ world, flows }) => {
      const [extra, ...policies] = world.policies;
      if (!extra) return;
      const before = createDecider({ ...world, policies });
      const after = createDecider(world);
      for (const flow of flows)
        for (const direction of ['egress', 'ingress'] as const) {
          const [was, is] = [before(flow)[direction], after(flow)[direction]];
          if (wasDecided(was) && was.verdict === 'allow') assert.equal(is.verdict, 'allow');
        }
    }),
    { numRuns: 300 },
  );
});

test('a policy without rules never allows what was denied', () => {
  fc.assert(
    fc.property(additive, ({ world, flows }) => {
      const deny = policyObject('a', 'deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
      const before = createDecider(world);
      const after = createDecider({ ...world, policies: [...world.policies, deny] });
      for (const flow of flows)
        if (before(flow).verdict === 'deny') assert.equal(after(flow).verdict, 'deny');
    }),
    { numRuns: 300 },
  );
});

test('a rule number says the same before and after other policies come', () => {
  fc.assert(
    fc.property(stagedWorlds, (world) => {
      const some = compile({ ...world, policies: world.policies.slice(1) });
      const all = compile(world);
      for (const [number, { text }] of some.rules) {
        const now = all.rules.get(number);
        if (now) assert.equal(now.text, text);
      }
    }),
    { numRuns: 200 },
  );
});
