/** For tests: an agent that is killed while it adds or removes a container, at points spread over what it takes. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { hostInterfaceName } from '../names.ts';
import { type Host, testHost } from './host.ts';

const CONFIG = {
  runtimeConfig: {
    portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
    bandwidth: { ingressRate: 1e8, ingressBurst: 1e6, egressRate: 1e8, egressBurst: 1e6 },
  },
};

/** What the next agent found: the container's network whole, or nothing of it. */
export interface Outcome {
  readonly whole: number;
  readonly nothing: number;
}

/**
 * The kernel, the books and the table agree after every next start. Whole is what an ADD had ended with, or a DEL had not
 * begun with: then a runtime that heard nothing sends DEL, and nothing is left.
 */
export async function killDuring(t: TestContext, command: 'ADD' | 'DEL', rounds: number): Promise<Outcome> {
  const host = await testHost(t);
  await host.startAgent();
  const before = host.inventory();
  const duration = await usualDuration(host, command);
  const outcome = { whole: 0, nothing: 0 };
  for (let round = 0; round < rounds; round++) {
    const id = `${command.toLowerCase()}-${round}`;
    host.container(id);
    if (command === 'DEL') assert.equal((await host.cni('ADD', id, CONFIG)).code, 0);
    const call = host.cni(command, id, CONFIG);
    await sleep((duration * (round + Math.random())) / rounds);
    await host.stopAgent('SIGKILL');
    await host.startAgent();
    await call;
    const after = host.inventory();
    if (isWhole(after, id)) {
      outcome.whole++;
      assert.equal((await host.cni('DEL', id, CONFIG)).code, 0);
    } else outcome.nothing++;
    assert.deepEqual(
      host.inventory(),
      before,
      `round ${round}: the next start left ${JSON.stringify(after)}`,
    );
  }
  return outcome;
}

/** Milliseconds of one that nobody disturbs. */
async function usualDuration(host: Host, command: 'ADD' | 'DEL'): Promise<number> {
  host.container('usual');
  const added = await timed(() => host.cni('ADD', 'usual', CONFIG));
  const deleted = await timed(() => host.cni('DEL', 'usual', CONFIG));
  return command === 'ADD' ? added : deleted;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Its link, one route and neighbour per family, its ports and its place in the books. */
function isWhole(inventory: readonly string[], id: string): boolean {
  const link = hostInterfaceName({ containerId: id, ifName: 'eth0' });
  const count = (pattern: RegExp) => inventory.filter((line) => pattern.test(line)).length;
  const parts = [
    count(new RegExp(`^link ${link} heddle:pod:`)) === 1,
    count(new RegExp(`^route .* ${link}$`)) === 2,
    count(new RegExp(`^neighbour .* ${link}$`)) === 2,
    count(new RegExp(`^elements .*${link}`)) === 4,
    inventory.includes(`book ${id}/eth0`),
  ];
  return parts.every(Boolean);
}
