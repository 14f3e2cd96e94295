/** `heddle status`: processes, nodes, pods, and the choices that were made for this machine. */
import type { Command } from 'commander';
import { clusterPaths } from '../cluster/paths.ts';
import { type CliDeps, exitCodes } from './deps.ts';
import { outputFormat, withDataDir } from './flags.ts';
import { gatherStatus } from './status-gather.ts';
import { statusText } from './status-text.ts';

const examples = `
Examples:
  heddle status
  heddle status -o json | jq '.processes[] | {name, pss}'

The exit code is 0 where the cluster is up and supervised, else 3.`;

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('status').description('show what runs and how it fares'))
    .option('-o, --output <format>', 'json (docs/schemas/status.json)')
    .addHelpText('after', examples)
    .action(async (flags: { dataDir: string; output?: string }) => {
      const format = outputFormat(flags.output, ['json']);
      const status = await gatherStatus(clusterPaths(flags.dataDir), deps);
      deps.stdout.write(format ? `${JSON.stringify(status, undefined, 2)}\n` : statusText(status, deps));
      process.exitCode = status.state === 'running' ? exitCodes.ok : exitCodes.notReady;
    });
}
