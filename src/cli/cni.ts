/** `heddle cni install|uninstall|status`: the plugin where container runtimes look for it, and its agent. */
import type { Command } from 'commander';
import { installPlugin, type Installed, uninstallPlugin } from '../cni/install.ts';
import { DEFAULT_SOCKET, DEFAULT_STATE } from '../cni/standalone/config.ts';
import { HeddleError } from '../lib/errors.ts';
import { CRI_PODS } from '../cluster/paths.ts';
import { createLog } from '../lib/log.ts';
import { PLUGIN_FILE } from './agent.ts';
import { agentStatus, statusText } from './cni-status.ts';
import type { CliDeps } from './deps.ts';
import { outputFormat, requireAbsolute, requireRoot } from './flags.ts';

const examples = `
Examples:
  heddle cni install                                            /opt/cni/bin/heddle-cni and /etc/cni/net.d/10-heddle.conflist
  heddle cni install --bin-dir /usr/lib/cni --network podman    for Debian's podman with network_backend = "cni"
  heddle cni install --pods --network heddle-pods               for the containerd that runs pods of runtime cri
  heddle cni status                                             what the agent serves; exit code 1 where none answers
  heddle cni uninstall
  heddle cni uninstall --purge                                  and all that the agent made: links, rules, books, leases

install and uninstall may run any number of times; files of others are never touched.`;

interface Flags {
  binDir: string;
  confDir: string;
  network: string;
  socket: string;
}

interface PurgeFlags extends Flags {
  purge?: boolean;
  force?: boolean;
  stateDir: string;
}

export function register(program: Command, deps: CliDeps): void {
  const cni = program
    .command('cni')
    .description('put the CNI plugin where container runtimes look for it, and show what its agent serves')
    .addHelpText('after', examples);
  const verb = (name: string, description: string): Command =>
    cni
      .command(name)
      .description(description)
      .option('--bin-dir <dir>', 'folder of plugins', '/opt/cni/bin')
      .option('--conf-dir <dir>', 'folder of network lists', '/etc/cni/net.d')
      .option('--network <name>', 'name of the network', 'heddle');
  verb('install', 'copy the plugin and write the list of its network')
    .option('--socket <path>', 'the socket of the agent', DEFAULT_SOCKET)
    .option('--pods', 'for a container runtime that runs pods of clusters (heddle.dev/runtime: cri)')
    .action(async (flags: Flags & { pods?: boolean }) => {
      check(flags);
      const pods = flags.pods ? CRI_PODS : undefined;
      tell(
        await installPlugin({ ...flags, pods, pluginFile: PLUGIN_FILE }),
        'written',
        'is as it should be',
        deps,
      );
    });
  verb('uninstall', 'remove both')
    .option('--purge', 'and all that the standalone agent made on this machine, in the kernel and on disk')
    .option('--force', 'with --purge: also while containers are attached, which lose their network')
    .option('--state-dir <dir>', 'with --purge: stateDir of the agent', DEFAULT_STATE)
    .option('--socket <path>', 'with --purge: the socket of the agent', DEFAULT_SOCKET)
    .action(async (flags: PurgeFlags) => {
      check(flags);
      if (flags.purge) await purgeAll(flags, deps);
      else if (flags.force) throw new HeddleError('BadFlag', '--force belongs to --purge');
      tell(await uninstallPlugin(flags), 'removed', 'was not there', deps);
    });
  cni
    .command('status')
    .description('show the standalone agent that runs: networks, containers, ranges, answers')
    .option('--socket <path>', 'the socket of the agent', DEFAULT_SOCKET)
    .option('-o, --output <format>', 'table, or json')
    .action(async ({ socket, output }: { socket: string; output?: string }) => {
      requireAbsolute('--socket', socket);
      const format = outputFormat(output, ['table', 'json']);
      const status = await agentStatus(socket);
      deps.stdout.write(format === 'json' ? `${JSON.stringify(status, undefined, 2)}\n` : statusText(status));
    });
}

async function purgeAll({ stateDir, socket, force = false }: PurgeFlags, deps: CliDeps): Promise<void> {
  requireAbsolute('--state-dir', stateDir);
  requireRoot(deps.isRoot, 'removing network interfaces of containers');
  const { purge } = await import('../cni/standalone/purge.ts');
  const log = createLog({ level: 'warn', fields: { process: 'purge' } });
  const removed = await purge({ stateDir, socket, force, log });
  for (const what of removed) deps.stdout.write(`${what} removed\n`);
  if (removed.length === 0) deps.stdout.write('the agent has left nothing on this machine\n');
}

/** @throws HeddleError `BadFlag` */
function check({ binDir, confDir, network, socket = DEFAULT_SOCKET }: Partial<Flags>): void {
  for (const [flag, value] of Object.entries({
    '--bin-dir': binDir,
    '--conf-dir': confDir,
    '--socket': socket,
  }))
    requireAbsolute(flag, value);
  if (network === undefined || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/.test(network))
    throw new HeddleError('BadFlag', `--network "${network}": expected letters, digits, "_", "." and "-"`);
}

function tell(files: readonly Installed[], done: string, nothing: string, deps: CliDeps): void {
  for (const { path, changed } of files) deps.stdout.write(`${path} ${changed ? done : nothing}\n`);
}
