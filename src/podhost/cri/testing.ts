/** For tests: Debian's containerd with everything of its own, in mounts and a network of its own. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { RUNTIME_ANNOTATION } from '../../api/runtime.ts';
import type { Pod } from '../../api/types.ts';
import { containerdConfig } from '../../cni/testing/containerd.ts';
import { openCri } from '../../cri/client.ts';
import { busyboxLayer, layoutOf, tarOfFiles } from '../../image/testing/make.ts';
import { closeNetns, createNetns, deleteNetns } from '../../kernel/netns.ts';
import { type ChildProcess, run, spawnIn } from '../../kernel/spawn.ts';
import type { Spec } from '../process/test-pods.ts';
import { eventually, testPod } from '../test-node.ts';

const root = join(import.meta.dirname, '../../..');
export const IMAGE = 'localhost/busybox:1';
const PATIENCE = 90_000;

export interface TestContainerd {
  readonly endpoint: string;
  /** Its mounts: programs that are to see its /run enter them. */
  readonly holder: number;
  start(): Promise<void>;
  /** As a crash does it: what it started runs on. */
  kill(): Promise<void>;
  /** It takes connections and answers nobody, until it may go on. */
  hang(): void;
  goOn(): void;
  /** `ctr` in its mounts. */
  ctr(...args: string[]): Promise<string>;
  /** With all that runs in it. */
  close(): Promise<void>;
}

/** `pods`: as `heddle cni install --pods` would be told. Not started yet. */
export async function createContainerd(folder: string, pods: string): Promise<TestContainerd> {
  const socket = join(folder, 'containerd.sock');
  const netns = createNetns(join(folder, 'containerd-net'));
  const holder = spawnIn({
    argv: [
      'unshare',
      '-m',
      '--propagation',
      'private',
      'sh',
      '-c',
      'mount -t tmpfs none /run && echo ready && exec cat',
    ],
    stdio: ['pipe', 'pipe', 'inherit'],
    netns,
  });
  await new Promise((resolve, reject) => {
    holder.stdout?.once('data', resolve);
    holder.once('exit', (code) => reject(new Error(`no mounts of its own: ${code}`)));
  });
  const inside = (argv: readonly string[]) => ['nsenter', '-m', '-t', String(holder.pid), ...argv];
  writeFiles(folder, socket, pods);
  const log = join(folder, 'containerd.log');
  let running: ChildProcess | undefined;

  async function end(signal: NodeJS.Signals): Promise<void> {
    const child = running;
    running = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  async function ctr(...args: string[]): Promise<string> {
    const argv = inside(['ctr', '--address', socket, '--namespace', 'k8s.io', ...args]);
    const { code, stdout, stderr } = await run(argv, { timeoutMs: PATIENCE });
    assert.equal(code, 0, `ctr ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  return {
    endpoint: `unix://${socket}`,
    holder: holder.pid!,
    ctr,
    async start() {
      const fd = fs.openSync(log, 'a');
      running = spawnIn({
        argv: inside(['containerd', '--config', join(folder, 'containerd.toml')]),
        netns,
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
        stdio: ['ignore', fd, fd],
      });
      fs.closeSync(fd);
      await eventually('containerd to answer', async () => {
        assert.equal(running?.exitCode, null, fs.readFileSync(log, 'utf8'));
        return (await ctr('version').catch(() => '')) !== '';
      });
      if (!(await ctr('images', 'list', '--quiet')).includes(IMAGE))
        await ctr('images', 'import', '--snapshotter', 'native', join(folder, 'image.tar'));
      // It serves its CRI some time after all else.
      const cri = openCri(`unix://${socket}`);
      await eventually('its CRI to answer', () => cri.version().catch(() => undefined));
      cri.close();
    },
    kill: () => end('SIGKILL'),
    hang: () => void running?.kill('SIGSTOP'),
    goOn: () => void running?.kill('SIGCONT'),
    async close() {
      if (running) {
        const tasks = await ctr('tasks', 'list', '--quiet').catch(() => '');
        for (const id of tasks.split('\n').filter(Boolean))
          await ctr('tasks', 'delete', '--force', id).catch(() => '');
      }
      await end('SIGTERM');
      holder.kill('SIGKILL');
      closeNetns(netns);
      deleteNetns(netns.path);
    },
  };
}

function writeFiles(folder: string, socket: string, pods: string): void {
  for (const name of ['cni-bin', 'net.d']) fs.mkdirSync(join(folder, name));
  fs.copyFileSync(join(root, 'build/heddle-cni'), join(folder, 'cni-bin/heddle-cni'));
  // containerd asks for it beside every network.
  fs.symlinkSync('/usr/lib/cni/loopback', join(folder, 'cni-bin/loopback'));
  const list = { cniVersion: '1.0.0', name: 'heddle', plugins: [{ type: 'heddle-cni', pods }] };
  fs.writeFileSync(join(folder, 'net.d/10-heddle.conflist'), JSON.stringify(list));
  fs.writeFileSync(
    join(folder, 'image.tar'),
    tarOfFiles(
      layoutOf({
        name: IMAGE,
        layers: [busyboxLayer()],
        config: { Cmd: ['/bin/sleep', '600'], Env: ['PATH=/bin'] },
      }),
    ),
  );
  fs.writeFileSync(
    join(folder, 'containerd.toml'),
    containerdConfig({
      folder,
      socket,
      binDir: join(folder, 'cni-bin'),
      confDir: join(folder, 'net.d'),
      image: IMAGE,
    }),
  );
}

export function criPod(
  name: string,
  container: Partial<Spec['containers'][number]>,
  spec: Partial<Spec> = {},
): Pod {
  const pod = testPod(name, {
    restartPolicy: 'Never',
    containers: [{ name: 'main', image: IMAGE, imagePullPolicy: 'Never', ...container }],
    ...spec,
  });
  return { ...pod, metadata: { ...pod.metadata, annotations: { [RUNTIME_ANNOTATION]: 'cri' } } };
}
