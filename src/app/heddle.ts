/** The `heddle` command. */
import { main } from '../cli/main.ts';
import { childEnv, readEnv } from './env.ts';

const env = readEnv();
process.stdout.once('error', (error: NodeJS.ErrnoException) => {
  process.stdout.on('error', () => {});
  // The reader of a pipe went away (`heddle logs … | head`): nothing is wrong and nobody is left to tell. A verb that
  // holds a cluster takes it down first, as after any hang-up.
  if (!process.emit('SIGHUP')) process.exit(error.code === 'EPIPE' ? 0 : 1);
});
// What failed is told by the exit code too.
process.stderr.on('error', () => {});
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
