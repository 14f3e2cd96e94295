/** `heddle demo`: a cluster with an application, traffic between all of it, and what the kernel made of it. */
import { join } from 'node:path';
import type { Command } from 'commander';
import type { ClusterPaths } from '../cluster/paths.ts';
import type { StartedCluster } from '../cluster/start.ts';
import { run } from '../kernel/spawn.ts';
import { HeddleError } from '../lib/errors.ts';
import { type DemoFlags, repeat, showRound } from './demo-rounds.ts';
import { datapathOption } from './choose-datapath.ts';
import { routingOption, tunnelOption } from './choose-routing.ts';
import type { CliDeps } from './deps.ts';
import { collect, outputFormat, requireRoot, wholeNumber, withDataDir } from './flags.ts';
import { onInterrupt } from './interrupt.ts';
import { type Own, startOwn, takeDown } from './own-cluster.ts';
import { createProgress, type Progress } from './progress.ts';
import { loadManifests } from './up-manifests.ts';
import { ipFamilyOption, upRequest } from './up-request.ts';
import { runningSupervisor } from './up-running.ts';
import { settle } from './up-settle.ts';

const SHOP = join(import.meta.dirname, '../../examples/shop');

const examples = `
Examples:
  heddle demo                      the example shop, live until Ctrl-C
  heddle demo --once               ends after the table; 0 if every verdict is what the policies say
  heddle demo -f k8s/ -o json      your own manifests, without their images

On a cluster that is up already (--data-dir) the demo probes what runs there and leaves it up.
--before-probes 'CMD' runs a shell command when everything is Ready, to try faults: HEDDLE_RUN_DIR is the folder
in which netns/NODE are the namespaces.`;

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('demo').description('show who can reach whom, and why, on a real cluster'))
    .option(
      '-f, --file <path>',
      'manifests: a file or a folder (repeatable; default: examples/shop)',
      collect,
    )
    .option('--nodes <n>', 'number of nodes, 1 to 250 (default: 2)')
    .addOption(ipFamilyOption())
    .addOption(datapathOption())
    .addOption(routingOption())
    .addOption(tunnelOption())
    .option('--once', 'end after the table; the exit code says whether all was as the policies say')
    .option('-o, --output <format>', 'json')
    .option('--max-attempts <n>', 'connections a round', '2000')
    .option('--before-probes <command>', 'run when all is Ready, before the first connection')
    .option('--api-port <port>', 'of the API server on 127.0.0.1; 0 takes a free one', '0')
    .option('--timeout <time>', 'for nodes and pods to become Ready', '120s')
    .addHelpText('after', examples)
    .action((flags: DemoFlags) => demo(flags, deps));
}

async function demo(flags: DemoFlags, deps: CliDeps): Promise<void> {
  outputFormat(flags.output, ['json']);
  wholeNumber('--max-attempts', flags.maxAttempts, 1, 1_000_000);
  requireRoot(deps.isRoot, 'the demo');
  const asked = upRequest({ ...flags, file: flags.file ?? [SHOP], standIn: true, wait: true });
  // What somebody kept in this data directory is not the demo's to remove.
  const request = { ...asked, keep: asked.continues };
  const manifests = await loadManifests(request.files, deps);
  const interrupt = onInterrupt();
  const progress = createProgress(deps);
  const settled = (since?: number) =>
    settle({ request, manifests, progress, deps, signal: interrupt.signal, since });
  try {
    if (await runningSupervisor(request.paths)) {
      progress.note(`the cluster in ${request.paths.dataDir} is up already: it is probed, and stays up`);
      // Only what was asked for is brought onto somebody's cluster.
      const failure = flags.file ? await settled() : undefined;
      if (failure) throw failure;
      await probe(flags, { request, interrupt, progress, deps });
    } else await onOwnCluster(flags, { request, interrupt, progress, deps }, settled);
  } catch (error) {
    progress.fail();
    if (!interrupt.signal.aborted) throw error;
  } finally {
    interrupt.dispose();
  }
  if (interrupt.signal.aborted && flags.once) process.exitCode = 130;
}

async function onOwnCluster(
  flags: DemoFlags,
  context: Own,
  settled: (since: number) => Promise<Error | undefined>,
): Promise<void> {
  const cluster = await startOwn(context);
  try {
    const failure = await settled(cluster.startedAt);
    if (failure) throw failure;
    await Promise.race([probe(flags, context), supervisorEnds(cluster, context.request.paths)]);
  } finally {
    await takeDown(context);
  }
}

async function supervisorEnds({ ended }: StartedCluster, paths: ClusterPaths): Promise<never> {
  const { code, signal } = await ended;
  throw new HeddleError('SupervisorEnded', `the supervisor ended (${signal ?? `exit code ${code}`})`, {
    hint: `its log is ${join(paths.logs, 'supervisor.log')}`,
  });
}

async function probe(flags: DemoFlags, context: Own): Promise<void> {
  const { request, interrupt, progress, deps } = context;
  if (flags.beforeProbes !== undefined) await beforeProbes(flags.beforeProbes, request.paths, progress);
  const rounds = { paths: request.paths, config: request.config, progress, deps, signal: interrupt.signal };
  const first = await showRound(flags, rounds);
  if (first.mismatches > 0) process.exitCode = 1;
  if (!flags.once) await repeat(flags, rounds);
}

async function beforeProbes(command: string, paths: ClusterPaths, progress: Progress): Promise<void> {
  progress.step(`running: ${command}`);
  const { code, stderr } = await run(['sh', '-c', command], {
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HEDDLE_RUN_DIR: paths.runDir,
    },
    timeoutMs: 60_000,
  });
  if (code !== 0)
    throw new HeddleError('CommandFailed', `--before-probes ended with ${code}: ${command}`, {
      hint: stderr.trim() || undefined,
    });
  progress.done();
}
