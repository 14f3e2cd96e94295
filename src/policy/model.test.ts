/** Policies of the model itself, with all that it can say: the reading of it, the tables, and what tables cannot say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile } from './compile.ts';
import { createDecider } from './decide.ts';
import { createIndexedDecider } from './indexed/decider.ts';
import type { Decision, Side } from './decision.ts';
import { createLookup } from './lookup.ts';
import { modelOf, type PlainRule } from './testing/plain-policies.ts';
import { type PlainReading, readPlain } from './testing/plain-reading.ts';
import { fullFlowsIn, mixedWorlds, plainWorlds } from './testing/plain-worlds.ts';
import { wireFlow } from './wire-flow.ts';
import type { Flow, World } from './world.ts';

const withFlows = <T>(from: fc.Arbitrary<T>, worldOf: (drawn: T) => World) =>
  from.chain((drawn) =>
    fc
      .array(fullFlowsIn(worldOf(drawn)), { minLength: 20, maxLength: 20 })
      .map((flows) => ({ drawn, flows })),
  );

const names = (refs: readonly { name: string }[] | undefined): string[] | undefined =>
  refs?.map(({ name }) => name);

const readingOf = (side: Side): PlainReading => ({
  verdict: side.verdict,
  reason: side.reason,
  ...(side.rule ? { rule: `${side.rule.name} ${side.rule.index}` } : {}),
  isolating: names(side.isolatedBy)!,
  ...(side.closedBy ? { closing: names(side.closedBy)! } : {}),
  redirect: side.redirect ?? false,
  auth: side.auth,
  logged: (side.logged ?? []).map(({ name, index }) => `${name} ${index}`),
});

test('decide gives what a plain reading of the model gives', () => {
  fc.assert(
    fc.property(
      withFlows(plainWorlds, ({ world }) => world),
      ({ drawn: { world, policies }, flows }) => {
        const decide = createDecider(world);
        for (const flow of flows) {
          const decision = decide(flow);
          for (const direction of ['ingress', 'egress'] as const) {
            const read = readPlain(world, policies, flow, direction);
            const side = decision[direction];
            if (read === 'free') assert.ok(['not-a-pod', 'self', 'own-node'].includes(side.reason));
            else assert.deepEqual(readingOf(side), { auth: undefined, ...read });
          }
        }
      },
    ),
    { numRuns: 1000 },
  );
});

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test('the index says what decide says', () => {
  const next = createIndexedDecider();
  fc.assert(
    fc.property(
      withFlows(mixedWorlds, (world) => world),
      ({ drawn: world, flows }) => {
        const [decide, indexed] = [createDecider(world), next(world)];
        for (const flow of flows) assert.deepEqual(plain(indexed(flow)), plain(decide(flow)));
      },
    ),
    { numRuns: 500 },
  );
});

/** Tables log nothing, and requests are not theirs. */
const asTables = ({ egress, ingress, ...rest }: Decision): unknown => {
  const side = (own: Side) => ({ ...own, logged: undefined });
  return plain({ ...rest, egress: side(egress), ingress: side(ingress) });
};

/** Ports of senders, and types of ICMP where rules tell them apart. */
function isBeyondTables(world: World, flow: Flow): boolean {
  const rules = world.policies.flatMap((object) =>
    object.kind === 'Lowered' ? object.policies.flatMap((policy) => policy.rules) : [],
  );
  return rules.some(
    ({ ports, sourcePorts }) =>
      sourcePorts || (flow.protocol === 'ICMP' && ports?.some((port) => 'type' in port)),
  );
}

test('the compiled tables say what the policies say, and nothing more is allowed where they cannot', () => {
  let closed = 0;
  fc.assert(
    fc.property(
      withFlows(mixedWorlds, (world) => world),
      ({ drawn: world, flows }) => {
        const decide = createDecider(world);
        const look = createLookup(compile(world));
        for (const flow of flows.map((each) => ({ ...each, request: undefined }))) {
          const [said, decided] = [look(wireFlow(world, flow)), decide(flow)];
          if (!isBeyondTables(world, flow)) assert.deepEqual(asTables(said), asTables(decided));
          else if (said.verdict === 'allow') assert.equal(decided.verdict, 'allow');
          else closed++;
        }
      },
    ),
    { numRuns: 1000 },
  );
  assert.ok(closed > 0);
});

test('what rules ask for beyond tables is denied, and told with its path', () => {
  const rule = (more: Partial<PlainRule>): PlainRule => ({
    direction: 'ingress',
    verdict: 'allow',
    priority: 1,
    peers: null,
    ports: [{ protocol: 'TCP', first: 80, last: 80 }],
    ...more,
  });
  const object = modelOf({
    namespace: 'a',
    name: 'p',
    tier: 1_000_000,
    audited: false,
    isolates: { ingress: true, egress: false },
    subject: { namespace: 'a', labels: {} },
    rules: [
      rule({ paths: ['/'] }),
      rule({ auth: 'required', ports: [{ protocol: 'TCP', first: 81, last: 81 }] }),
      rule({ verdict: 'log' }),
      rule({ sourcePorts: [{ protocol: 'TCP', first: 53, last: 53 }] }),
      rule({ ports: [{ protocol: 'ICMP', family: 4, type: 8 }] }),
      rule({ ports: [{ protocolNumber: 47 }] }),
    ],
  });
  const pod = { namespace: 'a', name: 'p', node: 'n', labels: {}, addresses: ['10.1.0.1'], ports: [] };
  const tables = compile({ pods: [pod], namespaces: [], nodes: [], policies: [object] });
  assert.deepEqual(
    tables.beyond?.map(({ path, message }) => [path, message.split(/:| yet/)[0]]),
    [
      ['spec.rules[2]', 'only what decides is logged'],
      ['spec.rules[3]', 'ports of senders are not told apart'],
      ['spec.rules[4]', 'types of ICMP are not told apart'],
    ],
  );
  const table = tables.tables.get(tables.endpoints.get('10.1.0.1')!.ingress)!;
  assert.deepEqual(
    table.entries.map(({ protocol, ports, verdict }) => [protocol, ports, verdict]),
    [
      [6, [80, 80], 'redirect'],
      [6, [81, 81], 'auth-required'],
      [47, [0, 65535], 'allow'],
    ],
  );
});
