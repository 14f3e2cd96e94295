import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDecider } from '../decide.ts';
import { flowsIn, policyObject, worlds } from '../testing/arbitraries.ts';
import type { World, WorldPod } from '../world.ts';
import { connectivity } from './connectivity.ts';
import { createEstate, type Estate } from './estate.ts';
import { lint } from './lint.ts';

const pod = (name: string): WorldPod => ({
  namespace: 'shop',
  name,
  node: '',
  labels: { app: name },
  addresses: [],
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
});

const estateOf = (world: World): Estate => createEstate(world, () => undefined);

const found = (specs: Readonly<Record<string, object>>): string[] => {
  const policies = Object.entries(specs).map(([name, spec]) => policyObject('shop', name, spec));
  const estate = estateOf({ pods: [pod('web'), pod('db')], namespaces: [], nodes: [], policies });
  return lint(estate).map(({ check, policy, path }) => `${check} ${policy.name} ${path}`);
};

const db = { podSelector: { matchLabels: { app: 'db' } } };
const web = { podSelector: { matchLabels: { app: 'web' } } };

for (const [what, specs, expected] of [
  [
    'a policy in which all does something',
    { a: { ...db, ingress: [{ from: [web], ports: [{ port: 'http' }] }] } },
    [],
  ],
  ['a default deny', { a: { podSelector: {} } }, []],
  [
    'a policy for nobody',
    { a: { podSelector: { matchLabels: { app: 'no' } } } },
    ['selects-nothing a spec.podSelector'],
  ],
  [
    'a peer that is nobody',
    { a: { ...db, ingress: [{ from: [web, { podSelector: { matchLabels: { app: 'no' } } }] }] } },
    ['no-peer a spec.ingress[0].from[1]'],
  ],
  [
    'a port name that no destination has',
    { a: { ...db, ingress: [{ from: [web], ports: [{ port: 'grpc' }] }] } },
    ['unknown-port-name a spec.ingress[0].ports'],
  ],
  [
    'requirements that exclude each other',
    {
      a: {
        ...db,
        ingress: [
          {
            from: [
              {
                podSelector: {
                  matchLabels: { app: 'web' },
                  matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web', 'db'] }],
                },
              },
            ],
          },
        ],
      },
    },
    ['never-matches a spec.ingress[0]'],
  ],
  [
    'a range that is none',
    { a: { ...db, ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/33' } }] }] } },
    ['never-matches a spec.ingress[0]', 'unreadable a spec.ingress[0].from[0].ipBlock.cidr'],
  ],
  [
    'a rule twice',
    { a: { ...db, ingress: [{ from: [web] }] }, b: { ...db, ingress: [{ from: [web] }] } },
    ['shadowed b spec.ingress[0]'],
  ],
  [
    'a narrow rule after a wide one',
    { a: { ...db, ingress: [{ from: [{ podSelector: {} }] }, { from: [web], ports: [{ port: 80 }] }] } },
    ['shadowed a spec.ingress[1]'],
  ],
  [
    'a narrow rule before a wide one',
    { a: { ...db, ingress: [{ from: [web], ports: [{ port: 80 }] }, { from: [{ podSelector: {} }] }] } },
    ['redundant a spec.ingress[0]'],
  ],
  [
    'two halves that make a rule needless',
    {
      a: {
        ...db,
        ingress: [
          { from: [web], ports: [{ port: 80, endPort: 89 }] },
          { from: [web], ports: [{ port: 90, endPort: 99 }] },
          { from: [web], ports: [{ port: 85, endPort: 95 }] },
        ],
      },
    },
    ['shadowed a spec.ingress[2]'],
  ],
  [
    'a range within a range',
    {
      a: {
        ...db,
        ingress: [
          { from: [{ ipBlock: { cidr: '10.0.0.0/8' } }] },
          { from: [{ ipBlock: { cidr: '10.1.0.0/16' } }] },
        ],
      },
    },
    ['shadowed a spec.ingress[1]'],
  ],
  [
    'a range that a hole of another needs',
    {
      a: {
        ...db,
        ingress: [
          { from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.2.0/24'] } }] },
          { from: [{ ipBlock: { cidr: '10.1.0.0/16' } }] },
        ],
      },
    },
    [],
  ],
] as const)
  test(`lint: ${what}`, () => assert.deepEqual(found(specs), expected));

/** Without the rules at these paths. */
function without(world: World, paths: ReadonlySet<string>): World {
  const policies = world.policies.map((policy) => {
    const spec = policy.spec as Record<string, unknown[] | undefined>;
    const id = `${policy.kind} ${policy.metadata.namespace ?? ''}/${policy.metadata.name}`;
    const rules = (direction: string) =>
      spec[direction]?.filter((_, i) => !paths.has(`${id} spec.${direction}[${i}]`));
    const types = (spec['egress'] ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
    // What an absent policyTypes means must not change with the rules.
    const isolation =
      policy.kind === 'NetworkPolicy' && !spec['policyTypes']?.length ? { policyTypes: types } : {};
    return {
      ...policy,
      spec: { ...spec, ...isolation, ingress: rules('ingress'), egress: rules('egress') },
    } as unknown as typeof policy;
  });
  return { ...world, policies };
}

test('without all rules that are told to be redundant every flow has the verdict that it had', () => {
  let removed = 0;
  const draws = worlds.chain((world) =>
    fc.array(flowsIn(world), { minLength: 30, maxLength: 30 }).map((flows) => ({ world, flows })),
  );
  fc.assert(
    fc.property(draws, ({ world, flows }) => {
      const told = lint(estateOf(world)).filter(({ check }) => check === 'shadowed' || check === 'redundant');
      if (told.length === 0) return;
      removed++;
      const less = without(
        world,
        new Set(told.map(({ policy, path }) => `${policy.kind} ${policy.namespace}/${policy.name} ${path}`)),
      );
      const [before, after] = [createDecider(world), createDecider(less)];
      for (const flow of flows) assert.equal(after(flow).verdict, before(flow).verdict);
      const text = (w: World) =>
        JSON.stringify([...connectivity(estateOf(w))].map(({ src, dst, set }) => [src, dst, set.ranges]));
      assert.equal(text(less), text(world));
    }),
    { numRuns: 200 },
  );
  assert.ok(removed > 10, `only ${removed} worlds had such rules`);
});
