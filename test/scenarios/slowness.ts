import { execute } from './local-cluster.ts';

const NODE_START_MS = 60;

/** How much longer a program takes to start than on an idle machine: a process that was killed starts as slowly. */
export async function slowness(): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await execute(process.execPath, ['-e', '0']);
    times.push(performance.now() - start);
  }
  const median = times.toSorted((a, b) => a - b)[2] ?? 0;
  return Math.max(1, median / NODE_START_MS);
}
