/** `heddle kubeconfig`: where it lies, or what is in it. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { clusterPaths } from '../cluster/paths.ts';
import { readableKubeconfig } from './connect.ts';
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
      const path = readableKubeconfig(clusterPaths(flags.dataDir));
      // It is written as JSON, which is YAML.
      deps.stdout.write(flags.print || format ? readFileSync(path, 'utf8') : `${path}\n`);
    });
}
