import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDecider } from '../decide.ts';
import { ruleText } from '../decision.ts';
import { buildMesh } from '../mesh/mesh.ts';
import { flowsIn, policyObject, worlds } from '../testing/arbitraries.ts';
import { calicoFlows, calicoWorlds } from '../testing/calico-policies.ts';
import { requestsIn, requestWorlds } from '../testing/cilium-policies.ts';
import { meshFlowsIn, withMesh } from '../testing/mesh-arbitraries.ts';
import { fullFlowsIn, mixedWorlds } from '../testing/plain-worlds.ts';
import type { World, WorldPod } from '../world.ts';
import { connectivity } from './connectivity.ts';
import { createEstate, type Estate } from './estate.ts';
import { lint } from './lint.ts';
import { createPortSets } from './port-set.ts';
import { findRedundant } from './redundant.ts';
import { findRedundantOfMesh } from './redundant-mesh.ts';
import { createSides } from './sides.ts';

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
    'the only rule for egress of a policy, which closes by it',
    { a: { ...db, policyTypes: ['Egress'], egress: [{ to: [web] }] }, b: { ...db, egress: [{ to: [web] }] } },
    ['redundant a spec.egress[0]'],
  ],
  [
    'the only rule for egress of a policy, which closes by its types',
    {
      a: { ...db, policyTypes: ['Egress'], egress: [{ to: [web] }] },
      b: { ...db, policyTypes: ['Ingress', 'Egress'], egress: [{ to: [web] }] },
    },
    ['shadowed b spec.egress[0]'],
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

const languages = [
  { language: "Cilium's", all: requestWorlds, flowsOf: requestsIn, numRuns: 200 },
  {
    language: "Calico's",
    all: calicoWorlds({ fine: false, requests: true }),
    flowsOf: calicoFlows,
    numRuns: 500,
  },
  { language: "the model's", all: mixedWorlds, flowsOf: fullFlowsIn, numRuns: 200 },
];

for (const { language, all, flowsOf, numRuns } of languages)
  test(`without the rules of ${language} policies that are redundant every request has the verdict that it had`, () => {
    let removed = 0;
    const draws = all.chain((world) =>
      fc.array(flowsOf(world), { minLength: 30, maxLength: 30 }).map((flows) => ({ world, flows })),
    );
    fc.assert(
      fc.property(draws, ({ world, flows }) => {
        const sides = createSides(estateOf(world), { sets: createPortSets() });
        const gone = new Set(findRedundant(sides).map(({ rule }) => rule));
        if (gone.size === 0) return;
        removed++;
        const policies = sides.scene.policies.map((policy) => ({
          ...policy,
          rules: policy.rules.filter((rule) => !gone.has(rule)),
        }));
        const lowered = { apiVersion: '', kind: 'Lowered', metadata: { name: 'less' }, policies } as const;
        const [before, after] = [createDecider(world), createDecider({ ...world, policies: [lowered] })];
        for (const flow of flows) assert.equal(after(flow).verdict, before(flow).verdict);
      }),
      { numRuns },
    );
    assert.ok(removed > 10, `only ${removed} worlds had such rules`);
  });

test('without the rules of the mesh that are redundant every request has the verdict that it had', () => {
  let removed = 0;
  const draws = withMesh(worlds).chain((world) =>
    fc.array(meshFlowsIn(world), { minLength: 30, maxLength: 30 }).map((flows) => ({ world, flows })),
  );
  fc.assert(
    fc.property(draws, ({ world, flows }) => {
      const mesh = buildMesh(world);
      const gone = new Set((mesh ? findRedundantOfMesh(mesh) : []).map(({ ref }) => ruleText(ref)));
      if (gone.size === 0) return;
      removed++;
      const less = (world.mesh ?? []).map((object) => {
        if (object.kind !== 'AuthorizationPolicy' || !object.spec?.rules) return object;
        const head = `AuthorizationPolicy ${object.metadata.namespace}/${object.metadata.name}`;
        const rules = object.spec.rules.filter((_, i) => !gone.has(`${head} spec.rules[${i}]`));
        return { ...object, spec: { ...object.spec, rules } };
      });
      const [before, after] = [createDecider(world), createDecider({ ...world, mesh: less })];
      for (const flow of flows) assert.equal(after(flow).verdict, before(flow).verdict);
    }),
    { numRuns: 400 },
  );
  assert.ok(removed > 2, `only ${removed} worlds had such rules`);
});

const ofCilium = (name: string, spec: object) =>
  ({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'shop', name },
    spec,
  }) as never;
const ofCalico = (name: string, spec: object) =>
  ({
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'shop', name },
    spec,
  }) as never;
const ofIstio = (name: string, spec: object) =>
  ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { namespace: 'shop', name },
    spec,
  }) as never;
const onDb = { endpointSelector: { matchLabels: { app: 'db' } } };
const asking = (http: object[]) => [
  { toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http } }] },
];

const denying = (port: string, endPort?: number, label = 'app') => ({
  fromEndpoints: [{ matchLabels: { [label]: 'web' } }],
  toPorts: [{ ports: [{ port, ...(endPort === undefined ? {} : { endPort }), protocol: 'TCP' }] }],
});

for (const [what, policies, mesh, expected] of [
  [
    'a request that is allowed twice',
    [
      ofCilium('a', { ...onDb, ingress: asking([{ method: 'GET' }, { method: 'PUT' }]) }),
      ofCilium('b', { ...onDb, ingress: [...asking([{ method: 'GET' }]), ...asking([{ method: 'POST' }])] }),
    ],
    [],
    ['shadowed b spec.ingress[0].toPorts[0]'],
  ],
  [
    'an only rule, which closes its direction',
    [ofCilium('a', { ...onDb, ingress: [{}] }), ofCilium('b', { ...onDb, ingress: [{}] })],
    [],
    [],
  ],
  [
    'what is denied twice',
    [
      ofCilium('a', {
        ...onDb,
        ingress: [{ fromEntities: ['cluster'] }],
        ingressDeny: [{ fromEntities: ['world'] }, { fromCIDR: ['203.0.113.0/24'] }],
      }),
    ],
    [],
    ['shadowed a spec.ingressDeny[1]'],
  ],
  [
    'what is denied on other ports, and of itself by default',
    [ofCilium('a', { ...onDb, ingressDeny: [denying('80'), denying('90', 99), denying('100')] })],
    [],
    [],
  ],
  [
    'very many rules that deny ports in common, which are not judged',
    [
      ofCilium('a', {
        ...onDb,
        ingressDeny: Array.from({ length: 400 }, (_, i) => denying(`${1000 + i}`, 3000 + i, `x${i % 7}`)),
      }),
    ],
    [],
    [],
  ],
  [
    'a rule behind one that denies',
    [
      ofCalico('a', {
        selector: "app == 'db'",
        ingress: [
          { action: 'Deny', source: { selector: "app == 'web'" } },
          { action: 'Allow' },
          { action: 'Allow', source: { selector: '!has(app)' } },
        ],
      }),
    ],
    [],
    ['shadowed a spec.ingress[2]'],
  ],
  [
    'a rule of the mesh within another',
    [],
    [
      ofIstio('a', { rules: [{ to: [{ operation: { methods: ['GET', 'PUT'] } }] }] }),
      ofIstio('b', {
        selector: { matchLabels: { app: 'db' } },
        rules: [
          { to: [{ operation: { methods: ['GET'], ports: ['80'] } }] },
          { to: [{ operation: { methods: ['POST'] } }] },
        ],
      }),
    ],
    ['redundant b spec.rules[0]'],
  ],
] as const)
  test(`lint: ${what}`, () => {
    const world = { pods: [pod('web'), pod('db')], namespaces: [], nodes: [], policies, mesh };
    const told = lint(estateOf(world as unknown as World)).filter(
      ({ check }) => check === 'shadowed' || check === 'redundant',
    );
    assert.deepEqual(
      told.map(({ check, policy, path }) => `${check} ${policy.name} ${path}`),
      expected,
    );
  });
