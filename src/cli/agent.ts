/** `heddle agent --standalone CONFIG`: CNI for the containers of this machine, without a cluster. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { parseStandaloneConfig } from '../cni/standalone/config.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import { shutdownSignal } from '../lib/tasks.ts';
import type { CliDeps } from './deps.ts';
import { requireRoot } from './flags.ts';

const examples = `
Examples:
  heddle agent --standalone examples/cni/agent.yaml           serve CNI until Ctrl-C or SIGTERM
  heddle agent --standalone /etc/heddle/agent.yaml --check    only say whether the file is good

It works in the network namespace it is started in. Containers keep their network when it ends; what was half made
is taken back at the next start. "heddle cni install" tells podman, containerd and others of it.`;

/** Built by native/Makefile. */
export const PLUGIN_FILE = join(import.meta.dirname, '../../build/heddle-cni');

export function register(program: Command, deps: CliDeps): void {
  program
    .command('agent')
    .description('serve CNI to container runtimes of this machine')
    .requiredOption('--standalone <config>', 'without a cluster: the file says how (kind: StandaloneAgent)')
    .option('--check', 'read the file, say what is wrong with it, and do nothing')
    .addHelpText('after', examples)
    .action((flags: { standalone: string; check?: boolean }) => run(flags, deps));
}

async function run(flags: { standalone: string; check?: boolean }, deps: CliDeps): Promise<void> {
  const config = parseStandaloneConfig(readConfigFile(flags.standalone), flags.standalone);
  if (flags.check) {
    deps.stdout.write(
      `${flags.standalone} is good: network ${config.name}, ${config.podRanges.join(' and ')}\n`,
    );
    return;
  }
  requireRoot(deps.isRoot, 'making network interfaces for containers');
  const signal = shutdownSignal();
  const { runStandalone } = await import('../cni/standalone/agent.ts');
  const log = createLog({ level: 'info', fields: { process: 'agent' } });
  await runStandalone({ config, pluginFile: PLUGIN_FILE, signal, log });
}

/** @throws HeddleError `BadAgentConfig` */
function readConfigFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new HeddleError('BadAgentConfig', `cannot read ${path}: ${errorText(error)}`);
  }
}
