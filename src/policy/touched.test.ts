import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile, createCompiler } from './compile.ts';
import type { PolicyTables } from './tables.ts';
import { policy, policyObject, some, stagedWorlds } from './testing/arbitraries.ts';
import { mixedWorlds } from './testing/plain-worlds.ts';
import type { PolicyObject } from './objects.ts';
import type { World, WorldPod } from './world.ts';

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

const ADDRESSES = ['10.244.1.1', '10.244.1.2', '10.244.1.10', '10.244.2.1', 'fd00:10:244:1::1', '8.8.8.8'];
const range = fc
  .tuple(fc.constantFrom(...ADDRESSES), fc.constantFrom(0, 8, 16, 24, 28, 29, 30, 31, 32))
  .map(([address, length]) => ({
    cidr: address.includes(':') ? `${address}/${length === 0 ? 0 : length + 96}` : `${address}/${length}`,
  }));
const ranged = fc.record({
  to: fc.array(fc.record({ ipBlock: range }), { minLength: 1, maxLength: 3 }),
  ports: fc.constantFrom(
    [],
    [{ port: 80 }],
    [{ port: 'http' }],
    [{ port: 'dns', protocol: 'UDP' }, { port: 53 }],
  ),
});
/** Of ranges, some with names of ports at them. */
const rangePolicy = (i: number): fc.Arbitrary<PolicyObject> =>
  fc
    .tuple(fc.constantFrom('a', 'b'), fc.array(ranged, { minLength: 1, maxLength: 3 }))
    .map(([namespace, egress]) => policyObject(namespace, `range-${i}`, { podSelector: {}, egress }));

/** Each time some of the policies are there, and the pods of one world or the other. */
const changing = fc.record({
  world: fc.oneof(stagedWorlds, mixedWorlds),
  other: stagedWorlds,
  more: fc
    .tuple(
      some([4, 6], rangePolicy),
      some([1, 3], (i) => policy(20 + i)),
    )
    .map((lists) => lists.flat()),
  steps: fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 4, maxLength: 12 }),
});

test('policies with ranges and names of ports come and go, pods too: a compiler gives what a fresh one gives', () => {
  fc.assert(
    fc.property(changing, ({ world: first, other, more, steps }) => {
      const [whole, part] = [createCompiler(), createCompiler()];
      const all = [...first.policies, ...more];
      const here = new Set<PolicyObject>(first.policies);
      const pods = new Map(first.pods.map((pod) => [pod.name, pod]));
      for (const [at, podAt] of steps) {
        const one = all[at % all.length]!;
        if (!here.delete(one)) here.add(one);
        const pod = other.pods[podAt % (2 * other.pods.length)];
        if (pod) pods.set(pod.name, pod);
        const world = { ...first, pods: [...pods.values()], policies: [...here] };
        assert.deepEqual(sorted(whole(world)), sorted(compile(world)));
        const onlyNode = 'node-1';
        assert.deepEqual(sorted(part(world, { onlyNode })), sorted(compile(world, { onlyNode })));
      }
    }),
    { numRuns: 150 },
  );
});

/** Which pods were asked for their ports, as each is that is put into a class where a rule for all has names of ports. */
function watchedPods(count: number) {
  const asked = new Set<string>();
  const ports = [{ name: 'http', port: 80, protocol: 'TCP' as const }];
  const pods = Array.from({ length: count }, (_, i): WorldPod => {
    const name = `p${i}`;
    return {
      namespace: 'a',
      name,
      node: 'n',
      labels: { app: `app-${i % 100}` },
      addresses: [`10.244.${i >> 8}.${i & 255}`],
      get ports() {
        asked.add(name);
        return ports;
      },
    };
  });
  return { pods, asked };
}

test('of 2,000 pods only those are put into classes again that a new range covers, or a new name of a port concerns', () => {
  const { pods, asked } = watchedPods(2000);
  const egress = (name: string, app: string, rule: object) =>
    policyObject('a', name, {
      podSelector: { matchLabels: { app } },
      policyTypes: ['Egress'],
      egress: [rule],
    });
  const to = (cidr: string, ...except: string[]) => ({ to: [{ ipBlock: { cidr, except } }] });
  const other = (i: number) => egress(`other-${i}`, `app-${i}`, to(`198.51.${i}.0/24`));
  const base: World = {
    pods,
    namespaces: [],
    nodes: [],
    policies: [
      egress('all', 'app-98', { ports: [{ port: 'http', protocol: 'TCP' }] }),
      ...Array.from({ length: 50 }, (_, i) => other(i)),
      egress('web', 'app-99', {
        to: [{ podSelector: { matchLabels: { app: 'app-7' } } }],
        ports: [{ port: 1 }],
      }),
    ],
  };
  const compiler = createCompiler();
  compiler(base);
  /** With one more policy, and without it again. */
  const touchedBy = (more: PolicyObject): readonly (readonly string[])[] =>
    [{ ...base, policies: [...base.policies, more] }, base].map((world) => {
      asked.clear();
      const tables = compiler(world);
      const found = [...asked].sort();
      assert.deepEqual(sorted(tables), sorted(compile(world)));
      return found;
    });
  const both = (names: readonly string[]) => [names, names];
  const covered = ['p776', 'p777', 'p778', 'p779'];
  assert.deepEqual(touchedBy(egress('range', 'app-50', to('10.244.3.8/30'))), both(covered));
  assert.deepEqual(touchedBy(egress('out', 'app-50', to('0.0.0.0/0', '10.0.0.0/8'))), both([]));
  const web = { to: [{ podSelector: { matchLabels: { app: 'app-7' } } }], ports: [{ port: 'http' }] };
  const named = pods.filter(({ labels }) => labels['app'] === 'app-7').map(({ name }) => name);
  assert.deepEqual(touchedBy(egress('named', 'app-50', web)), both(named.sort()));
});
