/**
 * ADD and DEL as a container runtime calls them: programs by hand, environment and stdin, in a machine's namespace. Ours
 * asks a standalone agent, in a process of its own as on any machine.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Netns, closeNetns, createNetns, deleteNetns } from '../src/kernel/netns.ts';
import { type ChildProcess, run, spawnIn } from '../src/kernel/spawn.ts';
import type { Contender } from './harness.ts';

export type Command = 'ADD' | 'DEL';
type Config = Readonly<Record<string, unknown>>;

interface Chain {
  readonly name: string;
  readonly node: Netns;
  readonly path: string;
  /** Of each plugin, in the order of ADD. */
  readonly configs: readonly Config[];
}

const REFERENCE = '/usr/lib/cni';
const ROOT = join(import.meta.dirname, '..');
/** Calls in one measurement. */
const CALLS = 4;

const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }];
const bandwidth = { ingressRate: 1e9, ingressBurst: 8e6, egressRate: 1e9, egressBurst: 8e6 };

async function call(chain: Chain, config: Config, command: Command, id: string, netns: string) {
  const file = join(chain.path, String(config['type']));
  const { code, stdout, stderr } = await run([file], {
    netns: chain.node,
    input: JSON.stringify({ cniVersion: '1.0.0', name: 'bench', ...config }),
    env: {
      // The reference portmap runs iptables.
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      CNI_COMMAND: command,
      CNI_CONTAINERID: id,
      CNI_NETNS: netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: chain.path,
    },
  });
  if (code !== 0) throw new Error(`${chain.name} ${command} ended with ${code}: ${stdout}${stderr}`);
  return stdout;
}

/** Milliseconds of each: a list as runtimes run it, each plugin with the result of the one before. */
async function addAndDelete(chain: Chain, id: string, netns: string): Promise<Record<Command, number>> {
  const start = performance.now();
  let prevResult: unknown;
  for (const config of chain.configs)
    prevResult = JSON.parse(await call(chain, { ...config, prevResult }, 'ADD', id, netns));
  const added = performance.now();
  for (const config of chain.configs.toReversed())
    await call(chain, { ...config, prevResult }, 'DEL', id, netns);
  return { ADD: added - start, DEL: performance.now() - added };
}

/** Milliseconds for `measured`, mean of a few calls; the other one of the pair is made beside the clock. */
const contender = (chain: Chain, measured: Command, folder: string): Contender => ({
  name: chain.name,
  async measure() {
    let total = 0;
    for (let i = 0; i < CALLS; i++) {
      const id = randomUUID();
      const path = join(folder, id);
      closeNetns(createNetns(path));
      try {
        total += (await addAndDelete(chain, id, path))[measured];
      } finally {
        deleteNetns(path);
      }
    }
    return total / CALLS;
  },
});

async function startAgent(folder: string, node: Netns, socket: string): Promise<ChildProcess> {
  const file = join(folder, 'agent.json');
  const config = {
    apiVersion: 'heddle.dev/v1alpha1',
    kind: 'StandaloneAgent',
    metadata: { name: 'bench' },
    spec: { podRanges: ['10.9.0.0/16', 'fd00:9::/64'], socket, stateDir: join(folder, 'state') },
  };
  writeFileSync(file, JSON.stringify(config));
  const log = openSync(join(folder, 'agent.log'), 'a');
  const agent = spawnIn({
    argv: [process.execPath, join(ROOT, 'src/app/heddle.ts'), 'agent', '--standalone', file],
    netns: node,
    stdio: ['ignore', log, log],
  });
  while (!existsSync(socket)) {
    if (agent.exitCode !== null) throw new Error(`the agent ended; see ${folder}/agent.log`);
    await sleep(20);
  }
  return agent;
}

const referenceChain = (folder: string, full: boolean): Config[] => [
  {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipam: {
      type: 'host-local',
      dataDir: join(folder, 'host-local'),
      ranges: [[{ subnet: '10.8.0.0/16' }], [{ subnet: 'fd00:8::/64' }]],
    },
  },
  ...(full
    ? [
        { type: 'portmap', runtimeConfig: { portMappings } },
        { type: 'bandwidth', runtimeConfig: { bandwidth } },
      ]
    : []),
];

/** @param full with a host port and limits, which the reference has plugins of their own for */
export async function cniContenders(measured: Command, full = false) {
  const folder = mkdtempSync(join(tmpdir(), `heddle-bench-${process.pid}-`));
  const [ourNode, theirNode] = [createNetns(join(folder, 'ours')), createNetns(join(folder, 'reference'))];
  const socket = join(folder, 'cni.sock');
  const agent = await startAgent(folder, ourNode, socket);
  const runtimeConfig = full ? { portMappings, bandwidth } : {};
  const ours: Chain = {
    name: 'heddle-cni',
    node: ourNode,
    path: join(ROOT, 'build'),
    configs: [{ type: 'heddle-cni', socket, runtimeConfig }],
  };
  const theirs: Chain = {
    name: `reference bridge and host-local${full ? ', portmap, bandwidth' : ''}`,
    node: theirNode,
    path: REFERENCE,
    configs: referenceChain(folder, full),
  };
  return {
    ours: contender(ours, measured, folder),
    peers: [contender(theirs, measured, folder)],
    async close() {
      const ended = new Promise((resolve) => agent.once('exit', resolve));
      if (agent.kill()) await ended;
      for (const node of [ourNode, theirNode]) {
        closeNetns(node);
        deleteNetns(node.path);
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
