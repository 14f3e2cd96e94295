/** The `heddle` command. */
import { main } from '../cli/main.ts';
import { childEnv, readEnv } from './env.ts';

const env = readEnv();
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of a pipe went away (`heddle logs … | head`): nothing is wrong and nobody is left to tell.
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});
process.exitCode = await main(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  color: process.stdout.isTTY && !env.noColor,
  interactive: process.stderr.isTTY && !env.ci,
  invoker: env.invoker,
  childEnv: childEnv(env),
  isRoot: process.geteuid?.() === 0,
});
