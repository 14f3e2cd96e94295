import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { serialize } from 'node:v8';
import { needsBpf } from '../../kernel/bpf/test-object.ts';
import { spawnIn } from '../../kernel/spawn.ts';
import { testBpffs, testFolder } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import type { Backend } from '../backend.ts';
import { createFakeBackend } from '../fake.ts';
import { createOverlay } from '../overlay.ts';
import { stateChanges } from '../plan/tables.ts';
import { type AgentTask, OVERLAY } from '../testing/agent-process.ts';
import type { Cluster } from '../testing/cluster.ts';
import { homeCgroup, startTraffic, upgradeCluster } from '../testing/upgrade.ts';
import { openEbpfBackend } from './open.ts';
import { ownCgroup } from './services/testing/rig.ts';

const OBJECTS = join(import.meta.dirname, '../../../build/bpf');

/** Each node's backend is opened by a process of its own. Returns what kills them, at once. */
async function startAgents(t: TestContext, tasks: readonly AgentTask[]) {
  const agents = tasks.map((task) => {
    const file = join(testFolder(t), 'task');
    fs.writeFileSync(file, serialize(task));
    const program = join(import.meta.dirname, '../testing/agent-process.ts');
    const agent = spawnIn({ argv: [process.execPath, program, file], stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => void agent.kill('SIGKILL'));
    return agent;
  });
  await Promise.all(
    agents.map(
      (agent) =>
        new Promise<void>((resolve, reject) => {
          agent.stdout?.once('data', () => resolve());
          agent.once('close', (code) => reject(new Error(`the agent ended with ${code}`)));
        }),
    ),
  );
  return () =>
    Promise.all(
      agents.map((agent) => {
        const closed = new Promise((resolve) => agent.once('close', resolve));
        agent.kill('SIGKILL');
        return closed;
      }),
    );
}

function adopt(t: TestContext, cluster: Cluster, i: number, task: AgentTask): Backend {
  const { ns, route } = cluster.lab.nodes[i]!;
  const { objectDir, pinDir, cgroup, nodeAddresses } = task;
  const overlay = createOverlay(route, { ...OVERLAY, nodeAddresses });
  const backend = openEbpfBackend({ objectDir, pinDir, cgroup, ns, route, overlay, log: silentLog });
  t.after(() => backend.close());
  return backend;
}

test('nodes whose agents were killed forward, balance and deny on; the next agents have nothing to mend', {
  skip: needsBpf,
  timeout: 120_000,
}, async (t) => {
  const home = homeCgroup();
  const cgroup = ownCgroup(t);
  const cluster = await upgradeCluster(t, () => createFakeBackend());
  const tasks = cluster.lab.nodes.map(
    ({ ns, settings }, i): AgentTask => ({
      netns: ns.path,
      objectDir: OBJECTS,
      pinDir: testBpffs(t),
      cgroup,
      nodeAddresses: settings.nodeAddresses,
      changes: stateChanges(cluster.plans[i]!.state),
    }),
  );
  const kill = await startAgents(t, tasks);
  const load = { rate: 1000, connections: 80 };
  const before = await startTraffic(t, cluster, home, load);
  await kill();
  await sleep(500);
  t.diagnostic(await before.finish());
  // What begins without an agent is decided like what went on.
  const after = await startTraffic(t, cluster, home, load);
  for (const [i, task] of tasks.entries()) {
    const next = adopt(t, cluster, i, task);
    assert.deepEqual(await next.prune(cluster.plans[i]!.state), []);
    assert.deepEqual(await next.verify(), []);
  }
  t.diagnostic(await after.finish());
});
