/** `heddle logs POD`: what the pod has written; for stand-ins, the requests that they served and made. */
import { request } from 'node:http';
import type { Command } from 'commander';
import { clusterPaths } from '../cluster/paths.ts';
import { HeddleError } from '../lib/errors.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { requireRoot, wholeNumber, withDataDir } from './flags.ts';
import { findPod } from './pod-target.ts';

const examples = `
Examples:
  heddle logs web-0 -n shop
  heddle logs -f --tail 20 deploy/web -n shop`;

interface LogsFlags {
  dataDir: string;
  namespace: string;
  follow?: boolean;
  tail?: string;
  container?: string;
  previous?: boolean;
}

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('logs').description('print the log of a pod'))
    .argument('<pod>', 'POD, or deploy/NAME, rs/NAME, svc/NAME: one of its pods')
    .option('-n, --namespace <name>', 'of the pod', 'default')
    .option('-c, --container <name>', 'of the pod; default: its first')
    .option('-p, --previous', 'of the run before, where a container was started again')
    .option('-f, --follow', 'go on as lines come, until Ctrl-C')
    .option('--tail <n>', 'the last n lines only')
    .addHelpText('after', examples)
    .action((pod: string, flags: LogsFlags) => logs(pod, flags, deps));
}

async function logs(word: string, flags: LogsFlags, deps: CliDeps): Promise<void> {
  const tail = flags.tail === undefined ? undefined : wholeNumber('--tail', flags.tail, 0, 999_999_999);
  requireRoot(deps.isRoot, 'reading the log of a pod');
  const paths = clusterPaths(flags.dataDir);
  const client = await connect(paths);
  const { namespace, pod, node } = await findPod(client, word, flags.namespace).finally(() => client.close());
  const query = new URLSearchParams();
  if (flags.container) query.set('container', flags.container);
  if (flags.previous) query.set('previous', 'true');
  if (flags.follow) query.set('follow', 'true');
  if (tail !== undefined) query.set('tail', String(tail));
  const path = `/logs/${encodeURIComponent(namespace)}/${encodeURIComponent(pod)}?${query.toString()}`;
  await stream(paths.node(node).agentSocket, path, deps.stdout);
}

/** @throws HeddleError `LogsFailed` */
function stream(socketPath: string, path: string, out: NodeJS.WritableStream): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown) =>
      reject(
        new HeddleError('LogsFailed', `the log could not be read from ${socketPath}`, {
          hint: 'the agent of the pod’s node may be restarting; "heddle status" shows it',
          cause,
        }),
      );
    const req = request({ socketPath, path, agent: false }, (res) => {
      res.on('error', fail);
      if (res.statusCode !== 200) {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('end', () => fail(new Error(Buffer.concat(chunks).toString('utf8').trim())));
        return;
      }
      res.on('end', resolve);
      res.pipe(out, { end: false });
    });
    req.on('error', fail);
    req.end();
  });
}
