/** ADD and DEL as a container runtime calls them: a program by hand, environment and stdin, in a node's namespace. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPlugin } from '../src/cni/plugin.ts';
import { serveCni } from '../src/cni/server.ts';
import { createIpam } from '../src/ipam/ipam.ts';
import { type Netns, closeNetns, createNetns, deleteNetns } from '../src/kernel/netns.ts';
import { openRoute } from '../src/kernel/route.ts';
import { run } from '../src/kernel/spawn.ts';
import { silentLog } from '../src/lib/log.ts';
import type { Contender } from './harness.ts';

export type Command = 'ADD' | 'DEL';

interface Plugin {
  readonly name: string;
  readonly file: string;
  readonly node: Netns;
  readonly config: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string>>;
}

const REFERENCE = '/usr/lib/cni';
/** Calls in one measurement. */
const CALLS = 5;

async function call(plugin: Plugin, command: Command, id: string, netns: string): Promise<number> {
  const start = performance.now();
  const { code, stdout, stderr } = await run([plugin.file], {
    netns: plugin.node,
    input: JSON.stringify({ cniVersion: '1.0.0', name: 'bench', ...plugin.config }),
    env: {
      ...plugin.env,
      CNI_COMMAND: command,
      CNI_CONTAINERID: id,
      CNI_NETNS: netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: REFERENCE,
    },
  });
  if (code !== 0) throw new Error(`${plugin.name} ${command} ended with ${code}: ${stdout}${stderr}`);
  return performance.now() - start;
}

/** Milliseconds for `measured`, mean of a few calls; the other one of the pair is made beside the clock. */
const contender = (plugin: Plugin, measured: Command, folder: string): Contender => ({
  name: plugin.name,
  async measure() {
    let total = 0;
    for (let i = 0; i < CALLS; i++) {
      const id = randomUUID();
      const path = join(folder, id);
      closeNetns(createNetns(path));
      try {
        const add = await call(plugin, 'ADD', id, path);
        const del = await call(plugin, 'DEL', id, path);
        total += measured === 'ADD' ? add : del;
      } finally {
        deleteNetns(path);
      }
    }
    return total / CALLS;
  },
});

export async function cniContenders(measured: Command) {
  const folder = mkdtempSync(join(tmpdir(), `heddle-bench-${process.pid}-`));
  const nodes = ['ours', 'reference'].map((name) => createNetns(join(folder, name)));
  const [ourNode, theirNode] = nodes;
  if (!ourNode || !theirNode) throw new Error('two nodes were made');
  const route = openRoute(ourNode);
  const socketPath = join(folder, 'cni.sock');
  const ipam = await createIpam({
    cidrs: ['10.9.0.0/16', 'fd00:9::/64'],
    path: join(folder, 'ipam.json'),
    log: silentLog,
  });
  const handlers = createPlugin({ ipam, node: route, mtu: 1450, log: silentLog });
  const server = await serveCni({ socketPath, handlers, log: silentLog });
  const ours: Plugin = {
    name: 'heddle-cni',
    file: join(import.meta.dirname, '../build/heddle-cni'),
    node: ourNode,
    config: { type: 'heddle-cni' },
    env: { HEDDLE_CNI_SOCKET: socketPath },
  };
  const ranges = [[{ subnet: '10.8.0.0/16' }], [{ subnet: 'fd00:8::/64' }]];
  const theirs: Plugin = {
    name: 'reference bridge and host-local',
    file: join(REFERENCE, 'bridge'),
    node: theirNode,
    config: {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipam: { type: 'host-local', dataDir: join(folder, 'host-local'), ranges },
    },
    env: {},
  };
  return {
    ours: contender(ours, measured, folder),
    peers: [contender(theirs, measured, folder)],
    async close() {
      await server.close();
      route.close();
      for (const [i, node] of nodes.entries()) {
        closeNetns(node);
        deleteNetns(join(folder, i === 0 ? 'ours' : 'reference'));
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
