/** Debian's FRR (zebra, staticd and bgpd) as the other end, in a namespace of the test's, with its files in a folder of the test's. */
import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { type ChildProcess, run, spawnIn } from '../../kernel/spawn.ts';
import { testFolder } from '../../kernel/test-netns.ts';
import type { Router } from './bird.ts';
import { until } from './until.ts';

const LIB = '/usr/lib/frr';

/** Its daemons leave root's rights, but for those over the network, and write here. */
function giveToFrr(folder: string): void {
  const fields = /^frr:.*$/m.exec(fs.readFileSync('/etc/passwd', 'utf8'))?.[0].split(':') ?? [];
  fs.chownSync(folder, Number(fields[2]), Number(fields[3]));
}

export async function startFrr(t: Pick<TestContext, 'after'>, netns: Netns, config: string): Promise<Router> {
  const folder = testFolder(t);
  giveToFrr(folder);
  const children = new Map<string, ChildProcess>();
  const conf = join(folder, 'frr.conf');

  async function ask(command: string): Promise<string> {
    const { stdout, stderr } = await run(['vtysh', '--vty_socket', folder, '-c', command]);
    return stdout + stderr;
  }

  async function startDaemon(name: string, ...more: string[]): Promise<void> {
    const argv = [
      join(LIB, name),
      '-f',
      conf,
      '-i',
      join(folder, `${name}.pid`),
      '-z',
      join(folder, 'zserv.api'),
    ];
    argv.push('--vty_socket', folder, '-A', '127.0.0.1', '-P', '0', '--log', 'stdout', ...more);
    const child = spawnIn({ argv, netns, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    let words = '';
    for (const output of [child.stdout, child.stderr]) output?.on('data', (data) => (words += String(data)));
    children.set(name, child);
    const socket = join(folder, `${name}.vty`);
    await until(name, () => {
      if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}: ${words}`);
      return fs.existsSync(socket);
    });
  }

  async function end(name: string): Promise<void> {
    const dying = children.get(name);
    if (!dying || dying.exitCode !== null || dying.signalCode !== null) return;
    const gone = new Promise((resolve) => dying.once('exit', resolve));
    dying.kill('SIGKILL');
    await gone;
    fs.rmSync(join(folder, `${name}.vty`), { force: true });
  }

  t.after(() => Promise.all(['bgpd', 'staticd', 'zebra'].map(end)));
  fs.writeFileSync(conf, config);
  await startDaemon('zebra');
  await startDaemon('staticd');
  await startDaemon('bgpd');
  return {
    ask,
    kill: () => end('bgpd'),
    async start({ config: text = config } = {}) {
      fs.writeFileSync(conf, text);
      await startDaemon('bgpd');
    },
  };
}
