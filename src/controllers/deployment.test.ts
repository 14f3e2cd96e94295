import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Deployment, ReplicaSet } from '../api/types.ts';
import { planDeployment } from './deployment-plan.ts';
import { boundsOf, scaleInProportion } from './deployment-scale.ts';
import { findNew, replicasOf, REVISION, total } from './deployment-sets.ts';
import { resolveIntOrPercent } from './int-or-percent.ts';
import { deploymentOf } from './testing.ts';

/** A cluster of one deployment: its ReplicaSets, the pods they really have, and how many of those are ready. */
interface Model {
  deployment: Deployment;
  sets: { set: ReplicaSet; pods: number; ready: number; old: number }[];
  clock: number;
}

const withImage = (deployment: Deployment, image: string): Deployment => ({
  ...deployment,
  metadata: { ...deployment.metadata, generation: (deployment.metadata.generation ?? 0) + 1 },
  spec: {
    ...deployment.spec!,
    template: {
      ...deployment.spec!.template,
      spec: { containers: [{ name: 'app', image }] },
    },
  },
});

function look(model: Model): void {
  const plan = planDeployment({
    deployment: model.deployment,
    sets: model.sets.map(({ set }) => set),
    hasPods: (set) => model.sets.some((one) => one.set === set && one.pods > 0),
    now: (model.clock += 1000),
  });
  if (plan.create) {
    const metadata = {
      ...plan.create.metadata,
      uid: `uid-${plan.create.metadata.name}`,
      generation: 1,
      creationTimestamp: new Date(model.clock).toISOString(),
    };
    model.sets.push({ set: { ...plan.create, metadata }, pods: 0, ready: 0, old: 0 });
  }
  for (const next of plan.update) {
    const one = model.sets.find(({ set }) => set.metadata.name === next.metadata.name)!;
    one.set = {
      ...next,
      metadata: { ...next.metadata, generation: (next.metadata.generation ?? 0) + 1 },
    };
  }
  const removed = new Set(plan.remove.map(({ metadata }) => metadata.name));
  model.sets = model.sets.filter(({ set }) => !removed.has(set.metadata.name));
  const annotations = { ...model.deployment.metadata.annotations };
  if (plan.revision) annotations[REVISION] = plan.revision;
  model.deployment = {
    ...model.deployment,
    metadata: { ...model.deployment.metadata, annotations },
    ...(plan.status ? { status: plan.status } : {}),
  };
}

/** A ReplicaSet makes and deletes pods, those that are not ready first, and reports. */
function reconcileSet(one: Model['sets'][number]): void {
  one.pods = replicasOf(one.set);
  one.ready = Math.min(one.ready, one.pods);
  const status = {
    replicas: one.pods,
    readyReplicas: one.ready,
    availableReplicas: one.ready,
    observedGeneration: one.set.metadata.generation,
  };
  one.set = { ...one.set, status };
}

function settle(model: Model): void {
  for (let i = 0; i < 200; i++) {
    look(model);
    for (const one of model.sets) {
      reconcileSet(one);
      one.ready = one.pods;
      reconcileSet(one);
    }
  }
}

const pods = (model: Model) => model.sets.reduce((sum, one) => sum + one.pods, 0);
const ready = (model: Model) => model.sets.reduce((sum, one) => sum + one.ready, 0);

function start(deployment: Deployment): Model {
  const model: Model = { deployment, sets: [], clock: Date.parse('2026-01-01T00:00:00Z') };
  settle(model);
  return model;
}

const amount = fc.oneof(
  fc.nat(6),
  fc.nat(100).map((n) => `${n}%`),
);

test('a rolling update never falls below what must be available nor rises above the surge, and ends', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      amount,
      amount,
      fc.array(fc.tuple(fc.constantFrom('look', 'set', 'ready', 'image'), fc.nat(9)), { maxLength: 60 }),
      (wanted, maxSurge, maxUnavailable, steps) => {
        const model = start(
          deploymentOf(wanted, {
            strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } },
          }),
        );
        assert.deepEqual([pods(model), ready(model)], [wanted, wanted]);
        const { surge, unavailable } = boundsOf(model.deployment);
        let images = 1;
        model.deployment = withImage(model.deployment, 'app:2');
        for (const [what, n] of steps) {
          const one = model.sets[n % model.sets.length]!;
          if (what === 'look') look(model);
          else if (what === 'set') reconcileSet(one);
          else if (what === 'ready') one.ready = Math.min(one.pods, one.ready + 1);
          else if (images++ < 3) model.deployment = withImage(model.deployment, `app:${n}`);
          assert.ok(pods(model) <= wanted + surge, `${pods(model)} pods`);
          assert.ok(ready(model) >= wanted - unavailable, `${ready(model)} ready`);
        }
        settle(model);
        const fresh = findNew(
          model.deployment,
          model.sets.map(({ set }) => set),
        )!;
        assert.deepEqual([pods(model), replicasOf(fresh)], [wanted, wanted]);
        const progressing = model.deployment.status?.conditions?.find((one) => one.type === 'Progressing');
        assert.equal(progressing?.reason, 'NewReplicaSetAvailable');
        assert.equal(model.deployment.status?.updatedReplicas, wanted);
      },
    ),
  );
});

test('a settled deployment is left alone', () => {
  const model = start(deploymentOf(3));
  const plan = planDeployment({
    deployment: model.deployment,
    sets: model.sets.map(({ set }) => set),
    hasPods: () => true,
    now: model.clock + 1000,
  });
  assert.deepEqual(plan, {
    create: undefined,
    update: [],
    remove: [],
    revision: undefined,
    status: undefined,
    again: undefined,
  });
});

test('Recreate makes no new pod while an old one is there', () => {
  const model = start(deploymentOf(3, { strategy: { type: 'Recreate' } }));
  model.deployment = withImage(model.deployment, 'app:2');
  look(model);
  look(model);
  assert.equal(model.sets.length, 1);
  assert.equal(replicasOf(model.sets[0]!.set), 0);
  reconcileSet(model.sets[0]!);
  look(model);
  assert.equal(model.sets.length, 2);
  assert.equal(replicasOf(model.sets[1]!.set), 3);
});

test('revisions count up, go back to an older template under a new number, and history is bounded', () => {
  const model = start(deploymentOf(1, { revisionHistoryLimit: 2 }));
  for (const image of ['app:2', 'app:3', 'app:2', 'app:4', 'app:5']) {
    model.deployment = withImage(model.deployment, image);
    settle(model);
  }
  assert.equal(model.deployment.metadata.annotations?.[REVISION], '6');
  assert.equal(model.sets.length, 3);
  assert.deepEqual(
    model.sets
      .map(({ set }) => set.spec?.template?.spec?.containers[0]?.image ?? '')
      .sort((a, b) => (a < b ? -1 : 1)),
    ['app:2', 'app:4', 'app:5'],
  );
});

test('a paused deployment starts no rollout but follows its number', () => {
  const model = start(deploymentOf(2));
  model.deployment = withImage(model.deployment, 'app:2');
  model.deployment = { ...model.deployment, spec: { ...model.deployment.spec!, paused: true, replicas: 4 } };
  settle(model);
  assert.equal(model.sets.length, 1);
  assert.equal(pods(model), 4);
  const progressing = model.deployment.status?.conditions?.find((one) => one.type === 'Progressing');
  assert.equal(progressing?.reason, 'DeploymentPaused');
});

test('a rollout that does not progress is said to be late, and nothing healthy is taken away', () => {
  const model = start(deploymentOf(4, { progressDeadlineSeconds: 60 }));
  model.deployment = withImage(model.deployment, 'app:broken');
  for (let i = 0; i < 100; i++) {
    look(model);
    for (const one of model.sets) reconcileSet(one);
  }
  const progressing = model.deployment.status?.conditions?.find((one) => one.type === 'Progressing');
  assert.equal(progressing?.reason, 'ProgressDeadlineExceeded');
  assert.equal(progressing?.status, 'False');
  assert.equal(ready(model), 3);
});

test('scaling amid a rollout shares the difference and adds up', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 4 }),
      fc.nat(30),
      (sizes, wanted) => {
        const deployment = deploymentOf(wanted);
        const sets = sizes.map(
          (replicas, i): ReplicaSet => ({
            apiVersion: 'apps/v1',
            kind: 'ReplicaSet',
            metadata: { name: `web-${i}` },
            spec: { replicas, selector: {} },
          }),
        );
        const scale = scaleInProportion(deployment, sets);
        const after = total(sets, (set) => scale.get(set.metadata.name) ?? replicasOf(set));
        const goal = sizes.length === 1 || wanted === 0 ? wanted : wanted + boundsOf(deployment).surge;
        assert.equal(after, goal);
      },
    ),
  );
});

test('percentages round as asked', () => {
  assert.equal(resolveIntOrPercent('25%', 10, 'up'), 3);
  assert.equal(resolveIntOrPercent('25%', 10, 'down'), 2);
  assert.equal(resolveIntOrPercent(4, 10, 'down'), 4);
  assert.equal(resolveIntOrPercent('x', 10, 'up'), 0);
});
