/** Debian's bird2 as the other end, in a namespace of the test's, with its files in a folder of the test's. */
import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { type ChildProcess, run, spawnIn } from '../../kernel/spawn.ts';
import { testFolder } from '../../kernel/test-netns.ts';
import { until } from './until.ts';

export interface Router {
  /** What its command line says. */
  ask(command: string): Promise<string>;
  /** kill -9, as far as the process that speaks BGP goes. */
  kill(): Promise<void>;
  /** `recover`: as a graceful restart. */
  start(options?: { recover?: boolean; config?: string }): Promise<void>;
}

export async function startBird(
  t: Pick<TestContext, 'after'>,
  netns: Netns,
  config: string,
): Promise<Router> {
  const folder = testFolder(t);
  const [conf, control] = [join(folder, 'bird.conf'), join(folder, 'bird.ctl')];
  const log = join(folder, 'log');
  let child: ChildProcess | undefined;

  function answerOf(started: ChildProcess, words: string): Promise<string> {
    if (started.exitCode !== null) throw new Error(`bird ended with ${started.exitCode}: ${words}`);
    return router.ask('show status');
  }

  const router: Router = {
    async ask(command) {
      const { stdout, stderr } = await run(['birdc', '-s', control, ...command.split(' ')]);
      return stdout + stderr;
    },
    async kill() {
      const dying = child;
      if (!dying || dying.exitCode !== null || dying.signalCode !== null) return;
      const gone = new Promise((resolve) => dying.once('exit', resolve));
      dying.kill('SIGKILL');
      await gone;
    },
    async start({ recover = false, config: text = config } = {}) {
      fs.writeFileSync(conf, `log "${log}" all;\n${text}`);
      const argv = [
        'bird',
        '-f',
        '-c',
        conf,
        '-s',
        control,
        '-P',
        join(folder, 'pid'),
        ...(recover ? ['-R'] : []),
      ];
      const started = spawnIn({ argv, netns, stdio: ['ignore', 'ignore', 'pipe'] });
      let words = '';
      started.stderr?.on('data', (data) => (words += String(data)));
      child = started;
      await until(
        'bird',
        () => answerOf(started, words),
        (answer) => answer.includes('Daemon is up'),
      );
    },
  };
  t.after(() => router.kill());
  await router.start();
  return router;
}
