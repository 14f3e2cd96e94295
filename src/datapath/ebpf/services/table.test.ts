import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { dialUdp } from '../../testing/traffic.ts';
import { type BackendAddress, frontendKey, type ServiceFrontend } from '../../plan/tables.ts';
import { SLOTS_PER_CHUNK } from './lower.ts';
import { createRecords } from './records.ts';
import { STAGED, type StagedMap, type WritableMap } from './stage.ts';
import { createServiceTable } from './table.ts';
import { createDraws } from './testing/draws.ts';
import { createRig, frontend, type Rig } from './testing/rig.ts';

const udp = { protocol: 'UDP' } as const;

const backends = (count: number, first = 1): BackendAddress[] =>
  Array.from({ length: count }, (_, i) => ({
    address: `10.244.${9 + ((first + i) >> 8)}.${(first + i) & 255}`,
    port: 80,
  }));

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** A map in memory that says what happens to it, entry by entry. */
function fakeMap(real: WritableMap, onWrite: () => void) {
  const rows = new Map<string, [Uint8Array, Uint8Array]>();
  const { keySize, valueSize } = real;
  const map: WritableMap = {
    name: real.name,
    keySize,
    valueSize,
    lookup: (key) => rows.get(text(key))?.[1],
    update(key, value) {
      rows.set(text(key), [Uint8Array.from(key), Uint8Array.from(value)]);
      onWrite();
      return true;
    },
    delete(key) {
      const had = rows.delete(text(key));
      onWrite();
      return had;
    },
    updateBatch(keys, values, count) {
      for (let i = 0; i < count; i++)
        map.update(
          keys.subarray(i * keySize, (i + 1) * keySize),
          values.subarray(i * valueSize, (i + 1) * valueSize),
        );
    },
    deleteBatch(keys, count) {
      for (let i = 0; i < count; i++) map.delete(keys.subarray(i * keySize, (i + 1) * keySize));
      return count;
    },
    *entries() {
      yield* rows.values();
    },
  };
  return map;
}

function fakes(rig: Rig, onWrite: () => void) {
  return Object.fromEntries(STAGED.map((name) => [name, fakeMap(rig.programs.map(name), onWrite)])) as {
    [name in StagedMap]: WritableMap;
  };
}

const words = (bytes: Uint8Array): Uint32Array => new Uint32Array(Uint8Array.from(bytes).buffer);

const u32 = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.of(...values).buffer);

/** Every number that a reader could follow now. */
function dangling(maps: { [name in StagedMap]: WritableMap }, read: (value: Uint8Array) => Views): string[] {
  const problems: string[] = [];
  const known = new Set([...maps.backends.entries()].map(([key]) => words(key)[0]));
  const views = [...maps.frontends.entries()].flatMap(([, value]) => Object.values(read(value)));
  for (const { table, slots, first } of views)
    for (const number of slots <= first.length ? first.slice(0, slots) : [])
      if (!known.has(number)) problems.push(`the frontend of ${table} says ${number}, which is no backend`);
  const long = views.filter(({ slots, first }) => slots > first.length);
  const chunks = long.flatMap(({ table, slots }) =>
    Array.from({ length: Math.ceil(slots / SLOTS_PER_CHUNK) }, (_, chunk) => ({ table, chunk, slots })),
  );
  for (const { table, chunk, slots } of chunks) {
    const found = maps.service_tables.lookup(u32(table, chunk));
    if (!found) problems.push(`table ${table} has no chunk ${chunk}`);
    for (const number of words(found ?? u32()).subarray(0, slots - chunk * SLOTS_PER_CHUNK))
      if (!known.has(number)) problems.push(`table ${table} says ${number}, which is no backend`);
  }
  return problems;
}

interface Views {
  inside: { table: number; slots: number; first: number[] };
  outside: { table: number; slots: number; first: number[] };
}

const changes: fc.Arbitrary<ServiceFrontend | string> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({
        host: fc.integer({ min: 1, max: 3 }),
        inside: fc.tuple(fc.nat(70), fc.nat(40)),
        outside: fc.option(fc.tuple(fc.nat(40), fc.nat(40)), { nil: undefined }),
        algorithm: fc.constantFrom('random' as const, 'maglev' as const, 'least-connection' as const),
      })
      .map(({ host, inside, outside, algorithm }) =>
        frontend(`10.96.0.${host}`, backends(...inside), {
          algorithm,
          ...(outside ? { externalBackends: backends(...outside) } : {}),
        }),
      ),
  },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 1, max: 3 }).map((host) => frontendKey(frontend(`10.96.0.${host}`, []))),
  },
);

test('at no moment of any change does a number lead nowhere', { skip: needsRoot }, (t) => {
  const rig = createRig(t, { pods: 0 });
  const codec = rig.programs.codec<Views>('struct frontend');
  const viewsOf = ({ inside, outside }: Views): Views => ({ inside, outside });
  fc.assert(
    fc.property(fc.array(changes, { minLength: 1, maxLength: 5 }), (steps) => {
      let check = () => {};
      const maps = fakes(rig, () => check());
      check = () =>
        assert.deepEqual(
          dangling(maps, (value) => viewsOf(codec.decode(value))),
          [],
        );
      const table = createServiceTable(maps, createRecords(rig.programs.codec));
      const state = new Map<string, ServiceFrontend>();
      for (const step of steps) {
        const key = typeof step === 'string' ? step : frontendKey(step);
        table.apply(new Map([[key, typeof step === 'string' ? undefined : step]]));
        if (typeof step === 'string') state.delete(key);
        else state.set(key, step);
      }
      check = () => {};
      assert.deepEqual(table.verify(state, undefined), []);
    }),
    { numRuns: 30 },
  );
});

test('what is there already is not written again', { skip: needsRoot }, (t) => {
  const rig = createRig(t, { pods: 0 });
  let writes = 0;
  const maps = fakes(rig, () => writes++);
  const table = createServiceTable(maps, createRecords(rig.programs.codec));
  const service = frontend('10.96.0.1', backends(3));
  const apply = (value: ServiceFrontend): number => {
    writes = 0;
    table.apply(new Map([[frontendKey(value), value]]));
    return writes;
  };
  assert.equal(apply(service), 4, 'three backends, a frontend');
  assert.equal(apply({ ...service }), 0);
  assert.equal(apply({ ...service, backends: backends(3, 2) }), 3, 'one comes, the frontend, one goes');
  const five = [...backends(3, 2), ...backends(2, 7)];
  assert.equal(apply({ ...service, backends: five }), 4, 'two come, with a table and the frontend');
  const other = five.with(0, { address: '10.244.9.99', port: 80 });
  assert.equal(apply({ ...service, backends: other }), 3, 'one comes, the table, one goes');
});

test('a restart finds its numbers again and writes nothing', { skip: needsRoot }, (t) => {
  const rig = createRig(t, { pods: 1 });
  rig.serve(
    frontend('10.96.0.1', backends(3), { ...udp, affinitySeconds: 100 }),
    frontend('fd00:10:96::1', [{ address: 'fd00:10:244:9::1', port: 80 }], {
      sourceRanges: ['2001:db8::/32'],
    }),
  );
  const before = createDraws(rig.programs, rig.node.ns).once('10.96.0.1', 80).backend;
  const dump = (one: Rig) => [...one.programs.map('backends').entries()].map(([key]) => text(key)).toSorted();
  const numbers = dump(rig);
  const again = rig.restart();
  assert.deepEqual(again.part.verify(again.state), []);
  assert.deepEqual(dump(again), numbers);
  assert.equal(createDraws(again.programs, rig.node.ns).once('10.96.0.1', 80).backend, before);
  again.serve(frontend('10.96.0.2', backends(1), udp));
  assert.equal(dump(again).length, numbers.length + 1, 'new numbers are new');
  assert.equal(createDraws(again.programs, rig.node.ns).once('10.96.0.2', 80).backend, '10.244.9.1|80');
});

test('damage is seen, named and mended', { skip: needsRoot }, (t) => {
  const rig = createRig(t, { pods: 1 });
  rig.serve(frontend('10.96.0.1', backends(3), udp), frontend('10.96.0.2', backends(2), udp));
  const { programs, part, state } = rig;
  const [firstBackend] = [...programs.map('backends').entries()];
  const [firstFrontend] = [...programs.map('frontends').entries()];
  assert.ok(firstBackend && firstFrontend);
  programs.map('backends').update(firstBackend[0], new Uint8Array(firstBackend[1].length).fill(7));
  programs.map('frontends').delete(firstFrontend[0]);
  programs.map('service_tables').update(u32(77, 7), new Uint8Array(SLOTS_PER_CHUNK * 4));
  for (const [key] of programs.map('netns_cookies').entries()) programs.map('netns_cookies').delete(key);
  for (const [key] of programs.map('service_ranges').entries()) programs.map('service_ranges').delete(key);

  const kinds = (list: readonly { kind: string; what: string }[]) =>
    new Set(list.map(({ kind, what }) => `${kind} ${what.split(' ')[0]}`));
  const seen = part.verify(state);
  for (const one of [
    'changed backends',
    'missing frontends',
    'foreign service_tables',
    'missing netns_cookies',
    'missing service_ranges',
  ])
    assert.ok(kinds(seen).has(one), `${one} in ${[...kinds(seen)].join(', ')}`);
  assert.deepEqual(kinds(part.prune(state)), kinds(seen));
  assert.deepEqual(part.verify(state), []);
  assert.deepEqual(part.prune(state), []);
  for (const host of ['10.96.0.1', '10.96.0.2'])
    assert.match(createDraws(programs, rig.node.ns).once(host, 80).backend ?? '', /^10\.244\.9\./);
});

test('ranges follow the settings', { skip: needsRoot }, async (t) => {
  const rig = createRig(t, { pods: 0 });
  const why = async (host: string) => (await dialUdp(rig.node.ns, host, 80)).why;
  assert.notEqual(await why('10.97.0.1'), 'ECONNREFUSED');
  assert.equal(await why('10.96.0.1'), 'ECONNREFUSED');
  rig.apply({
    table: 'settings',
    key: 'node',
    value: { ...rig.node.settings, serviceCidrs: ['10.97.0.0/16'], nodeLocal: [] },
  });
  assert.equal(await why('10.97.0.1'), 'ECONNREFUSED');
  assert.notEqual(await why('10.96.0.1'), 'ECONNREFUSED');
  assert.deepEqual(rig.part.verify(rig.state), []);
});
