import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { needsBpf } from '../../kernel/bpf/test-object.ts';
import { testBpffs } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import { openPrograms } from './loader.ts';
import { socketGlobals } from './services/attach.ts';
import { LEARNED_BYTES, LEARNED_MAPS, mapSizes } from './sizes.ts';
import { mapMemory } from './map-memory.ts';

const objectDir = join(import.meta.dirname, '../../../build/bpf');
const GIB = 2 ** 30;
const MB = 1e6;

function measure(t: Parameters<typeof testBpffs>[0], maxEntries: Record<string, number>) {
  const programs = openPrograms({
    objectDir,
    pinDir: testBpffs(t),
    log: silentLog,
    globals: socketGlobals(),
    maxEntries,
  });
  t.after(() => programs.close());
  return mapMemory(programs);
}

const bytes = (maps: ReturnType<typeof mapMemory>, names?: readonly string[]) =>
  maps.filter(({ name }) => names?.includes(name) ?? true).reduce((sum, each) => sum + each.bytes, 0);

test('nodes divide their machine’s memory; what they take is what is said', { skip: needsBpf }, (t) => {
  const usual = measure(t, {});
  const learned = bytes(usual, LEARNED_MAPS);
  assert.ok(Math.abs(learned / LEARNED_BYTES - 1) < 0.05, `${learned} bytes`);
  const taken = [1, 2, 10, 40].map((nodes) => bytes(measure(t, mapSizes({ memory: 24 * GIB, nodes }))));
  t.diagnostic(
    `${bytes(usual)} bytes at the usual sizes; of 1, 2, 10 and 40 nodes on 24 GiB: ${taken.join(', ')}`,
  );
  const [alone = 0, two = 0, ten = 0, forty = 0] = taken;
  assert.ok(alone < 115 * MB && two < 60 * MB && ten < 36 * MB && forty < 36 * MB, taken.join(', '));
});

test('what is learned grows with memory, shrinks with nodes, and keeps to powers of two', () => {
  const machine = fc.record({
    memory: fc.integer({ min: GIB, max: 2048 * GIB }),
    nodes: fc.integer({ min: 1, max: 250 }),
    share: fc.option(fc.double({ min: 0.0001, max: 0.5, noNaN: true }), { nil: undefined }),
  });
  fc.assert(
    fc.property(machine, fc.integer({ min: 1, max: 8 }), (one, more) => {
      const sizes = mapSizes(one);
      const richer = mapSizes({ ...one, memory: one.memory * more });
      const crowded = mapSizes({ ...one, nodes: one.nodes * more });
      for (const [name, entries] of Object.entries(sizes)) {
        assert.ok(Number.isInteger(Math.log2(entries)), `${name} ${entries}`);
        if (!LEARNED_MAPS.includes(name)) continue;
        assert.ok((richer[name] ?? 0) >= entries && (crowded[name] ?? 0) <= entries, name);
      }
      // 10,000 services of both families, with a node port each at two addresses; 3 endpoints each, all changing at once.
      assert.ok((sizes['frontends'] ?? 1e9) >= 40_000 + 20_000 && (sizes['backends'] ?? 1e9) >= 2 * 60_000);
      assert.ok((sizes['policy_entries'] ?? 1e9) >= 65_536 && (sizes['nat4'] ?? 0) >= 16_384);
    }),
  );
});

test('a node that has its machine alone has half of the usual sizes at least, unless another share is asked for', () => {
  assert.equal(mapSizes({ memory: GIB, nodes: 1 })['flows4'], 32_768);
  assert.equal(mapSizes({ memory: GIB, nodes: 1, share: 0.0025 })['flows4'], 8_192);
  assert.equal(mapSizes({ memory: 48 * GIB, nodes: 1 })['flows4'], 65_536);
  assert.equal(mapSizes({ memory: 192 * GIB, nodes: 1 })['flows4'], 262_144);
  assert.equal(mapSizes({ memory: 24 * GIB, nodes: 2, share: 0.02 })['flows4'], 131_072);
  assert.equal('backends' in mapSizes({ memory: 64 * GIB, nodes: 1 }), false);
});
