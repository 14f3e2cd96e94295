/** 10,000 pods and 2,000 policies: from a new world, in which one pod is new, to its tables. */
import { type CompileOptions, createCompiler } from '../src/policy/compile.ts';
import type { World } from '../src/policy/world.ts';
import type { Benchmark } from './harness.ts';
import { makeMixedWorld, ofWorkload, podOf } from './policy-worlds.ts';

const APPS = 1600;
const PODS = 10_000;
const CHANGES = 20;
const NODE = { onlyNode: 'node-1' };

export function benchmark(): Promise<Benchmark> {
  const base = makeMixedWorld(APPS, PODS);
  const contender = (
    name: string,
    change: (world: World, round: number) => World,
    options?: CompileOptions,
  ) => {
    const compile = createCompiler();
    let world = base;
    let round = 0;
    compile(world, options);
    return {
      name,
      measure() {
        const times: number[] = [];
        for (let i = 0; i < CHANGES; i++) {
          world = change(world, ++round);
          const began = performance.now();
          compile(world, options);
          times.push(performance.now() - began);
        }
        return Promise.resolve(times.toSorted((a, b) => a - b)[CHANGES >> 1]!);
      },
    };
  };
  return Promise.resolve({
    name: 'policy-pod-added',
    unit: 'ms (median)',
    larger: false,
    ours: contender('one pod added', addPod),
    peers: [
      contender('one pod added, tables of one node', addPod, NODE),
      contender('labels of one pod changed', relabel),
      contender('labels of one pod changed, tables of one node', relabel, NODE),
      contender('one policy changed', changePolicy),
      contender('one policy changed, tables of one node', changePolicy, NODE),
    ],
    close: () => Promise.resolve(),
  });
}

/** Another one of a workload. */
const addPod = (world: World, round: number): World => ({
  ...world,
  pods: [...world.pods, podOf(PODS + round, APPS)],
});

const relabel = (world: World, round: number): World => {
  const at = (round * 37) % PODS;
  const pod = world.pods[at]!;
  return {
    ...world,
    pods: world.pods.with(at, { ...pod, labels: { ...pod.labels, release: `r${round % 7}` } }),
  };
};

const changePolicy = (world: World, round: number): World => {
  const at = (round * 37) % APPS;
  return { ...world, policies: world.policies.with(at, ofWorkload(at, APPS, 9000 + (round % 1000))) };
};
