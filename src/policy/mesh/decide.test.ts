import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDecider } from '../decide.ts';
import { type Outcome, policyText, ruleKey } from '../decision.ts';
import { namespacedWorlds } from '../testing/arbitraries.ts';
import { meshFlowsIn, requests, withMesh } from '../testing/mesh-arbitraries.ts';
import { readMesh } from '../testing/mesh-reading.ts';
import type { World } from '../world.ts';
import type { MeshSide } from './side.ts';

const worlds = withMesh(namespacedWorlds.map((world) => ({ ...world, policies: [] })));
const withFlows = (world: World, count = 25) =>
  fc.record({
    world: fc.constant(world),
    flows: fc.array(meshFlowsIn(world), { minLength: count, maxLength: count }),
  });

const byText = ({ rule, verdict }: Outcome, closedBy: MeshSide['closedBy'] = []): string =>
  rule ? ruleKey(rule) : verdict === 'deny' ? closedBy.map(policyText).join(', ') : '';

test('of every request the decision is what a second reading of the specification says', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(
      worlds.chain((world) => withFlows(world)),
      ({ world, flows }) => {
        const decide = createDecider(world);
        for (const flow of flows.filter(({ request }) => request)) {
          const { mesh } = decide(flow);
          if (!mesh) continue;
          seen.set(mesh.reason, (seen.get(mesh.reason) ?? 0) + 1);
          assert.deepEqual(
            { verdict: mesh.verdict, by: byText(mesh, mesh.closedBy) },
            readMesh(world, flow, false),
          );
          const audited = readMesh(world, flow, true);
          assert.equal(mesh.audit.verdict, audited.verdict);
          if (mesh.audit.rule) assert.equal(ruleKey(mesh.audit.rule), audited.by);
          assert.equal(mesh.ruleNumber !== 0, mesh.rule !== undefined || mesh.verdict === 'deny');
        }
      },
    ),
    { numRuns: 1500 },
  );
  for (const reason of [
    'rule',
    'default-deny',
    'tls',
    'custom',
    'no-policy',
    'no-rule',
    'not-in-mesh',
    'own-node',
  ])
    assert.ok((seen.get(reason) ?? 0) > 20, `${reason}: ${seen.get(reason)}`);
});

test('a connection is denied only if everything on it is, and settled only if nothing on it can differ', () => {
  const probes = fc.array(requests, { minLength: 12, maxLength: 12 });
  let differ = 0;
  fc.assert(
    fc.property(
      worlds.chain((world) => fc.tuple(withFlows(world, 8), probes)),
      ([{ world, flows }, list]) => {
        const decide = createDecider(world);
        for (const { request: _, ...flow } of flows.filter(({ protocol }) => protocol === 'TCP')) {
          const whole = decide(flow).mesh;
          if (!whole) continue;
          const single = list.map((request) => decide({ ...flow, request }));
          const verdicts = new Set(single.map(({ mesh }) => mesh?.verdict));
          if (whole.verdict === 'deny')
            assert.deepEqual(
              [...verdicts].filter((v) => v !== 'deny'),
              [],
            );
          else if (!whole.redirect)
            assert.deepEqual(
              [...verdicts].filter((v) => v !== 'allow'),
              [],
            );
          if (verdicts.size > 1) differ++;
        }
      },
    ),
    { numRuns: 600 },
  );
  assert.ok(differ > 50, `${differ}`);
});

test('a flow passes if egress, ingress and mesh let it pass', () => {
  fc.assert(
    fc.property(
      withMesh(namespacedWorlds).chain((world) => withFlows(world)),
      ({ world, flows }) => {
        const decide = createDecider(world);
        const network = createDecider({ ...world, mesh: [] });
        for (const flow of flows) {
          const [both, { egress, ingress, mesh }] = [decide(flow), network(flow)];
          assert.equal(mesh, undefined);
          assert.deepEqual([both.egress, both.ingress], [egress, ingress]);
          const sides = [egress, ingress, ...(both.mesh ? [both.mesh] : [])];
          assert.equal(both.verdict, sides.every(({ verdict }) => verdict === 'allow') ? 'allow' : 'deny');
          assert.equal(both.audit, sides.every(({ audit }) => audit.verdict === 'allow') ? 'allow' : 'deny');
        }
      },
    ),
    { numRuns: 200 },
  );
});
