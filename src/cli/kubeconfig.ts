/** `heddle kubeconfig`: where it lies, or what is in it. */
import { accessSync, constants, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { clusterPaths } from '../cluster/paths.ts';
import { HeddleError, errnoCode } from '../lib/errors.ts';
import type { CliDeps } from './deps.ts';
import { outputFormat, withDataDir } from './flags.ts';

const examples = `
Examples:
  kubectl --kubeconfig "$(heddle kubeconfig)" get pods -A
  heddle kubeconfig --print > ~/.kube/heddle`;

interface KubeconfigFlags {
  dataDir: string;
  print?: boolean;
  output?: string;
}

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('kubeconfig').description('print the path of the kubeconfig'))
    .option('--print', 'print what is in it instead')
    .option('-o, --output <format>', 'yaml or json: the same as --print')
    .addHelpText('after', examples)
    .action((flags: KubeconfigFlags) => {
      const format = outputFormat(flags.output, ['yaml', 'json']);
      const path = readable(clusterPaths(flags.dataDir).kubeconfig, flags.dataDir);
      // It is written as JSON, which is YAML.
      deps.stdout.write(flags.print || format ? readFileSync(path, 'utf8') : `${path}\n`);
    });
}

function readable(path: string, dataDir: string): string {
  try {
    accessSync(path, constants.R_OK);
    return path;
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT')
      throw new HeddleError('NoCluster', `there is no cluster in ${dataDir}: no ${path}`, {
        hint: 'start one with "heddle up", or name another with --data-dir',
      });
    throw new HeddleError('NotRoot', `cannot read ${path}`, {
      hint: 'it belongs to whoever ran "sudo heddle up"; use sudo',
      cause,
    });
  }
}
