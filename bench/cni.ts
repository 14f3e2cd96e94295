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
/**
 * Between calls. What the kernel does about a new link by itself holds up whoever deletes it within 10 ms, by up to 20 ms: a
 * plugin that adds faster than that would be charged for it, and no container is gone so soon.
 */
const SETTLE_MS = 50;

const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }];
const bandwidth = { ingressRate: 1e9, ingressBurst: 8e6, egressRate: 1e9, egressBurst: 8e6 };

/** As by hand, and a shell says for how long: starting a process from this one takes milliseconds of its own. */
const TIMED = 'began=$EPOCHREALTIME; "$0"; code=$?; echo "$began $EPOCHREALTIME" >&2; exit $code';

async function call(chain: Chain, config: Config, command: Command, id: string, netns: string) {
  const file = join(chain.path, String(config['type']));
  const { code, stdout, stderr } = await run(['/bin/bash', '-c', TIMED, file], {
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
  const [, began, ended] = /(\d+[.,]\d+) (\d+[.,]\d+)\n$/.exec(stderr) ?? [];
  if (code !== 0 || ended === undefined)
    throw new Error(`${chain.name} ${command} ended with ${code}: ${stdout}${stderr}`);
  return { stdout, ms: (seconds(ended) - seconds(began ?? '')) * 1000 };
}

/** The shell writes it in the way of its locale. */
const seconds = (text: string): number => Number(text.replace(',', '.'));

/** Milliseconds of each: a list as runtimes run it, each plugin with the result of the one before. */
async function addAndDelete(chain: Chain, id: string, netns: string): Promise<Record<Command, number>> {
  const times = { ADD: 0, DEL: 0 };
  let prevResult: unknown;
  for (const config of chain.configs) {
    const { stdout, ms } = await call(chain, { ...config, prevResult }, 'ADD', id, netns);
    prevResult = JSON.parse(stdout);
    times.ADD += ms;
  }
  await sleep(SETTLE_MS);
  for (const config of chain.configs.toReversed())
    times.DEL += (await call(chain, { ...config, prevResult }, 'DEL', id, netns)).ms;
  await sleep(SETTLE_MS);
  return times;
}

/**
 * Milliseconds for `measured`, mean of a few calls; the other one of the pair is made beside the clock. Containers' namespaces
 * stay until the end: the kernel takes one apart for tens of milliseconds, with the lock that links are made and
 * deleted under, and whoever is called next would be charged for it.
 */
const contender = (chain: Chain, measured: Command, containers: Containers): Contender => ({
  name: chain.name,
  async measure() {
    let total = 0;
    for (let i = 0; i < CALLS; i++) {
      const { id, path } = containers.make();
      total += (await addAndDelete(chain, id, path))[measured];
    }
    return total / CALLS;
  },
});

interface Containers {
  make(): { id: string; path: string };
  remove(): void;
}

function createContainers(folder: string): Containers {
  const made: string[] = [];
  return {
    make() {
      const id = randomUUID();
      const path = join(folder, id);
      closeNetns(createNetns(path));
      made.push(path);
      return { id, path };
    },
    remove: () => made.forEach(deleteNetns),
  };
}

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
  const containers = createContainers(folder);
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
    ours: contender(ours, measured, containers),
    peers: [contender(theirs, measured, containers)],
    async close() {
      const ended = new Promise((resolve) => agent.once('exit', resolve));
      if (agent.kill()) await ended;
      containers.remove();
      for (const node of [ourNode, theirNode]) {
        closeNetns(node);
        deleteNetns(node.path);
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
