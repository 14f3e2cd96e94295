/** `heddle down`: takes a cluster down, whoever of its processes still lives. */
import type { Command } from 'commander';
import { clusterPaths } from '../cluster/paths.ts';
import { stopCluster } from '../cluster/stop.ts';
import type { CliDeps } from './deps.ts';
import { requireRoot, withDataDir } from './flags.ts';
import { createProgress } from './progress.ts';

const examples = `
Examples:
  heddle down             the cluster and all its data are gone
  heddle down --keep      objects, keys and logs stay; the next "heddle up" continues
  heddle down --force     does not ask the supervisor first`;

interface DownFlags {
  dataDir: string;
  keep?: boolean;
  force?: boolean;
}

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('down').description('stop a local cluster and remove it'))
    .option('--keep', 'keep the data directory, so that the next "heddle up" continues')
    .option('--force', 'kill the supervisor instead of asking it')
    .addHelpText('after', examples)
    .action((flags: DownFlags) => down(flags, deps));
}

async function down(flags: DownFlags, deps: CliDeps): Promise<void> {
  requireRoot(deps.isRoot, 'taking a cluster down');
  const paths = clusterPaths(flags.dataDir);
  const progress = createProgress(deps);
  const keep = flags.keep === true;
  try {
    const result = await stopCluster({
      paths,
      keep,
      force: flags.force,
      onStep: (text) => progress.step(text),
    });
    progress.done();
    if (!result.found) progress.note(`there is no cluster in ${paths.dataDir}`);
    else if (keep) progress.note(`the cluster is down; ${paths.dataDir} is kept`);
    else if (result.left.length > 0)
      progress.note(
        `the cluster is removed; ${paths.dataDir} stays, for it holds what is not the cluster's: ${result.left.join(', ')}`,
      );
    else progress.note(`the cluster is down and ${paths.dataDir} is removed`);
  } catch (error) {
    progress.fail();
    throw error;
  }
}
