/**
 * For tests: a machine of its own (a network namespace) with a way outside, a standalone agent in it, and containers.
 * All is gone when the test ends, however it ends.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { closeNetns, createNetns, deleteNetns, inNetns, type Netns, openNetns } from '../../kernel/netns.ts';
import { openNft } from '../../kernel/nft.ts';
import { openRoute } from '../../kernel/route.ts';
import { connectTcp, listenTcp } from '../../kernel/sockets.ts';
import { type ChildProcess, run, type RunResult, spawnIn } from '../../kernel/spawn.ts';
import type { CniResult } from '../types.ts';

export const ROOT = join(import.meta.dirname, '../../..');
const PLUGIN = join(ROOT, 'build/heddle-cni');
/** Milliseconds that anything may take on a machine that is busy. */
const PATIENCE = 90_000 * Number(process.env['HEDDLE_PATIENCE'] ?? 1);

/** As a shell says SIGKILL. */
const KILLED = 137;

export type Answer = CniResult & { code: number; msg: string; details?: string };

export interface Host {
  readonly folder: string;
  readonly ns: Netns;
  /** Reached through the machine: 192.0.2.2 and 2001:db8::2; the machine is .1. */
  readonly outside: Netns;
  readonly socket: string;
  readonly configFile: string;
  startAgent(): Promise<ChildProcess>;
  stopAgent(signal?: NodeJS.Signals): Promise<void>;
  /** A container's network namespace. */
  container(name: string): Netns;
  /** Calls heddle-cni as a runtime does. */
  cni(
    command: string,
    id: string,
    config?: object,
    env?: Record<string, string>,
  ): Promise<{ code: number; out: Answer | undefined }>;
  /** Kills every heddle-cni that runs now: their calls end with code 137. */
  killCalls(): void;
  run(argv: readonly string[], env?: Record<string, string>, input?: string): Promise<RunResult>;
  /** Done before the machine goes, the last-named first. */
  atEnd(work: () => Promise<unknown>): void;
  /** The process whose mounts it has; its root is this machine's. */
  readonly holder: number | undefined;
  /** Starts a program that goes on. */
  start(argv: readonly string[], env: Record<string, string>, log: string): ChildProcess;
  /** The same, in the network outside. */
  startOutside(argv: readonly string[], log: string): ChildProcess;
  /** Everything that a CNI plugin could leave: links, addresses, routes, neighbours, rules, books. */
  inventory(): string[];
}

export async function until(what: string, done: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`waited too long for ${what}`);
    await sleep(20);
  }
}

export interface HostOptions {
  /** Its own /run and /dev/shm, for programs that keep things there. */
  readonly ownMounts?: boolean;
}

export async function testHost(
  t: Pick<TestContext, 'after'>,
  spec: object = {},
  { ownMounts = false }: HostOptions = {},
): Promise<Host> {
  const made = await run(['make', '-s', '-C', join(ROOT, 'native')]);
  assert.equal(made.code, 0, made.stderr);
  const folder = fs.mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-`));
  const ns = createNetns(join(folder, 'host'));
  const outside = createNetns(join(folder, 'outside'));
  const containers: Netns[] = [];
  let agent: ChildProcess | undefined;
  let calls = new AbortController();
  const socket = join(folder, 'cni.sock');
  const configFile = join(folder, 'agent.yaml');
  fs.writeFileSync(
    configFile,
    stringify({
      apiVersion: 'heddle.dev/v1alpha1',
      kind: 'StandaloneAgent',
      metadata: { name: 'test' },
      spec: {
        podRanges: ['10.9.1.0/24', 'fd00:9:1::/64'],
        nodeAddresses: ['192.0.2.1', '2001:db8::1'],
        socket,
        stateDir: join(folder, 'state'),
        ...spec,
      },
    }),
  );
  connect(ns, outside);
  const holder = ownMounts ? await holdMounts(ns) : undefined;
  const inside = (argv: readonly string[]): string[] =>
    holder ? ['nsenter', '-m', '-t', String(holder.pid), ...argv] : [...argv];

  async function stopAgent(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const running = agent;
    agent = undefined;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise((resolve) => running.once('exit', resolve));
    running.kill(signal);
    await ended;
  }

  const atEnd: (() => Promise<unknown>)[] = [];
  t.after(async () => {
    for (const work of atEnd.toReversed())
      await work().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
    await stopAgent('SIGKILL');
    holder?.kill('SIGKILL');
    for (const each of [...containers, outside, ns]) {
      closeNetns(each);
      deleteNetns(each.path);
    }
    fs.rmSync(folder, { recursive: true, force: true });
  });

  const host: Host = {
    folder,
    ns,
    outside,
    socket,
    configFile,
    async startAgent() {
      fs.rmSync(socket, { force: true });
      const log = fs.openSync(join(folder, 'agent.log'), 'a');
      const started = spawnIn({
        argv: inside([
          process.execPath,
          '--disable-warning=ExperimentalWarning',
          join(ROOT, 'src/app/heddle.ts'),
          'agent',
          '--standalone',
          configFile,
        ]),
        netns: ns,
        stdio: ['ignore', log, log],
      });
      fs.closeSync(log);
      agent = started;
      await until('the agent to serve', () => {
        assert.equal(started.exitCode, null, fs.readFileSync(join(folder, 'agent.log'), 'utf8'));
        return fs.existsSync(socket);
      }).catch((error: unknown) => {
        throw new Error(`${String(error)}\n${fs.readFileSync(join(folder, 'agent.log'), 'utf8')}`, {
          cause: error,
        });
      });
      return started;
    },
    stopAgent,
    container(name) {
      const made = createNetns(join(folder, `container-${name}`));
      containers.push(made);
      return made;
    },
    killCalls() {
      calls.abort();
      calls = new AbortController();
    },
    async cni(command, id, config = {}, env = {}) {
      const { signal } = calls;
      const { code, stdout } = await run([PLUGIN], {
        netns: ns,
        timeoutMs: PATIENCE,
        signal,
        input: JSON.stringify({ cniVersion: '1.1.0', name: 'test', type: 'heddle-cni', socket, ...config }),
        env: {
          CNI_COMMAND: command,
          CNI_CONTAINERID: id,
          CNI_NETNS: join(folder, `container-${id}`),
          CNI_IFNAME: 'eth0',
          CNI_PATH: '/usr/lib/cni',
          ...env,
        },
      }).catch((error: unknown) => {
        if (signal.aborted) return { code: KILLED, stdout: '' };
        throw error;
      });
      return { code, out: stdout === '' ? undefined : (JSON.parse(stdout) as Answer) };
    },
    run: (argv, env = {}, input = '') =>
      run(inside(argv), {
        netns: ns,
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
        input,
        timeoutMs: PATIENCE,
      }),
    atEnd: (work) => void atEnd.push(work),
    holder: holder?.pid,
    start(argv, env, log) {
      const fd = fs.openSync(log, 'a');
      const started = spawnIn({
        argv: inside(argv),
        netns: ns,
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
        stdio: ['ignore', fd, fd],
      });
      fs.closeSync(fd);
      return started;
    },
    startOutside(argv, log) {
      const fd = fs.openSync(log, 'a');
      const started = spawnIn({ argv, netns: outside, stdio: ['ignore', fd, fd] });
      fs.closeSync(fd);
      return started;
    },
    inventory: () => inventoryOf(ns, join(folder, 'state/ipam.json')),
  };
  return host;
}

/** A process that does nothing in mounts of its own. */
async function holdMounts(netns: Netns): Promise<ChildProcess> {
  const script = 'mount -t tmpfs none /run && mount -t tmpfs none /dev/shm && echo ready && exec cat';
  const holder = spawnIn({
    argv: ['unshare', '-m', '--propagation', 'private', 'sh', '-c', script],
    netns,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((resolve, reject) => {
    holder.stdout?.once('data', resolve);
    holder.once('exit', (code) => reject(new Error(`no mounts of its own: ${code}`)));
  });
  return holder;
}

/** The machine's uplink, and its peer that routes everything back to it but forwards nothing. */
function connect(ns: Netns, outside: Netns): void {
  const [here, there] = [openRoute(ns), openRoute(outside)];
  here.addVeth({ name: 'up0', peer: { name: 'up0', netns: outside } });
  for (const [route, host] of [
    [here, 1],
    [there, 2],
  ] as const) {
    route.setLink('up0', { up: true });
    route.replaceAddress('up0', `192.0.2.${host}/24`);
    route.replaceAddress('up0', `2001:db8::${host}/64`, { nodad: true });
    route.replaceRoute({ dst: '0.0.0.0/0', via: `192.0.2.${host === 1 ? 2 : 1}`, dev: 'up0' });
    route.close();
  }
}

/** Link-local addresses come and go by themselves, and what is learned ages. */
function inventoryOf(ns: Netns, book: string): string[] {
  const route = openRoute(ns);
  const nft = openNft(ns);
  try {
    const ruleset = nft.run('list tables').includes('heddle-cni')
      ? 'list table inet heddle-cni'
      : 'list tables';
    const names = new Map(route.links().map(({ index, name }) => [index, name]));
    return [
      ...route.links().map(({ name, alias, mtu }) => `link ${name} ${alias} ${mtu}`),
      ...route
        .addresses()
        .filter(({ address }) => !address.startsWith('fe80:'))
        .map(({ link, address }) => `address ${names.get(link)} ${address}`),
      ...route
        .routes()
        .filter(({ table, protocol }) => table === 254 && protocol !== 2)
        .map(({ dst, dev }) => `route ${dst} ${names.get(dev ?? 0)}`),
      ...route
        .neighbours()
        .filter(({ permanent }) => permanent)
        .map(({ address, dev }) => `neighbour ${address} ${names.get(dev)}`),
      ...nft
        .run(ruleset)
        .split('\n')
        .map((line) => line.replace(/counter packets \d+ bytes \d+/, 'counter').trim()),
      ...(fs.existsSync(book)
        ? (JSON.parse(fs.readFileSync(book, 'utf8')) as { allocations: { key: string }[] }).allocations.map(
            ({ key }) => `book ${key}`,
          )
        : []),
    ].toSorted();
  } finally {
    nft.close();
    route.close();
  }
}

/** What a listener at `port` of `to` answers to a connection from `from` at `address`: the caller's address. */
export async function peerSeen({
  from,
  to,
  address,
  port,
  listen = port,
}: {
  from: Netns;
  to: Netns;
  address: string;
  port: number;
  listen?: number;
}): Promise<string> {
  let seen = '';
  const server = createServer((socket) => {
    seen = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
    socket.end();
  }).listen({ fd: listenTcp(to, '::', listen) });
  try {
    const socket = await connectTcp(from, { host: address, port, timeoutMs: PATIENCE });
    await new Promise((resolve) => socket.once('close', resolve).resume());
    return seen;
  } finally {
    server.close();
  }
}

/** True where a connection is not made within half a second, or is refused. */
export async function isCutOff(from: Netns, address: string, port: number): Promise<boolean> {
  try {
    (await connectTcp(from, { host: address, port, timeoutMs: 500 })).destroy();
    return false;
  } catch {
    return true;
  }
}

export const addressesOf = (answer: Answer | undefined): string[] =>
  (answer?.ips ?? []).map(({ address }) => address.split('/')[0] ?? '');

export { inNetns, openNetns };
