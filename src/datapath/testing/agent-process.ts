/**
 * A process that is a node's agent as far as its data path goes: opens the backend, makes it what the plan says, says
 * `ready` and does nothing more until it is killed. Its argument is a file, see `AgentTask`.
 */
import fs from 'node:fs';
import { deserialize } from 'node:v8';
import { openNetns } from '../../kernel/netns.ts';
import { openRoute } from '../../kernel/route.ts';
import { silentLog } from '../../lib/log.ts';
import { openEbpfBackend } from '../ebpf/open.ts';
import { createOverlay } from '../overlay.ts';
import { applyChanges, type Change, emptyState } from '../plan/tables.ts';

export interface AgentTask {
  readonly netns: string;
  readonly objectDir: string;
  readonly pinDir: string;
  readonly cgroup: string;
  readonly nodeAddresses: readonly string[];
  /** The whole plan. */
  readonly changes: readonly Change[];
}

export const OVERLAY = { vni: 72, port: 4789, mtu: 1450 } as const;

async function serve(task: AgentTask): Promise<void> {
  const ns = openNetns(task.netns);
  const route = openRoute(ns);
  const { objectDir, pinDir, cgroup, nodeAddresses } = task;
  const overlay = createOverlay(route, { ...OVERLAY, nodeAddresses });
  const backend = openEbpfBackend({ objectDir, pinDir, cgroup, ns, route, overlay, log: silentLog });
  const state = emptyState();
  applyChanges(state, task.changes);
  await backend.prune(state);
  process.stdout.write('ready\n');
  setInterval(() => {}, 1 << 30);
}

if (import.meta.main) await serve(deserialize(fs.readFileSync(process.argv[2] ?? '')) as AgentTask);
