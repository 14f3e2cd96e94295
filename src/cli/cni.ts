/** `heddle cni install|uninstall|status`: the plugin where container runtimes look for it, and its agent. */
import { isAbsolute } from 'node:path';
import type { Command } from 'commander';
import { installPlugin, type Installed, uninstallPlugin } from '../cni/install.ts';
import { DEFAULT_SOCKET } from '../cni/standalone/config.ts';
import { HeddleError } from '../lib/errors.ts';
import { PLUGIN_FILE } from './agent.ts';
import { agentStatus, statusText } from './cni-status.ts';
import type { CliDeps } from './deps.ts';
import { outputFormat } from './flags.ts';

const examples = `
Examples:
  heddle cni install                                            /opt/cni/bin/heddle-cni and /etc/cni/net.d/10-heddle.conflist
  heddle cni install --bin-dir /usr/lib/cni --network podman    for Debian's podman with network_backend = "cni"
  heddle cni status                                             what the agent serves; exit code 1 where none answers
  heddle cni uninstall

install and uninstall may run any number of times; files of others are never touched.`;

interface Flags {
  binDir: string;
  confDir: string;
  network: string;
  socket: string;
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
    .action(async (flags: Flags) => {
      check(flags);
      tell(await installPlugin({ ...flags, pluginFile: PLUGIN_FILE }), 'written', 'is as it should be', deps);
    });
  verb('uninstall', 'remove both').action(async (flags: Flags) => {
    check(flags);
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

function requireAbsolute(flag: string, value: string | undefined): void {
  if (value === undefined || !isAbsolute(value))
    throw new HeddleError('BadFlag', `${flag} "${value}": expected an absolute path`);
}

function tell(files: readonly Installed[], done: string, nothing: string, deps: CliDeps): void {
  for (const { path, changed } of files) deps.stdout.write(`${path} ${changed ? done : nothing}\n`);
}
