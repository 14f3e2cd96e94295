/** `heddle cni install|uninstall`: the plugin where container runtimes look for it. */
import { isAbsolute } from 'node:path';
import type { Command } from 'commander';
import { installPlugin, type Installed, uninstallPlugin } from '../cni/install.ts';
import { DEFAULT_SOCKET } from '../cni/standalone/config.ts';
import { HeddleError } from '../lib/errors.ts';
import { PLUGIN_FILE } from './agent.ts';
import type { CliDeps } from './deps.ts';

const examples = `
Examples:
  heddle cni install                                            /opt/cni/bin/heddle-cni and /etc/cni/net.d/10-heddle.conflist
  heddle cni install --bin-dir /usr/lib/cni --network podman    for Debian's podman with network_backend = "cni"
  heddle cni uninstall

Both may run any number of times; files of others are never touched.`;

interface Flags {
  binDir: string;
  confDir: string;
  network: string;
  socket: string;
}

export function register(program: Command, deps: CliDeps): void {
  const cni = program
    .command('cni')
    .description('put the CNI plugin where container runtimes look for it')
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
}

/** @throws HeddleError `BadFlag` */
function check({ binDir, confDir, network, socket = DEFAULT_SOCKET }: Partial<Flags>): void {
  for (const [flag, value] of Object.entries({
    '--bin-dir': binDir,
    '--conf-dir': confDir,
    '--socket': socket,
  }))
    if (value === undefined || !isAbsolute(value))
      throw new HeddleError('BadFlag', `${flag} "${value}": expected an absolute path`);
  if (network === undefined || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/.test(network))
    throw new HeddleError('BadFlag', `--network "${network}": expected letters, digits, "_", "." and "-"`);
}

function tell(files: readonly Installed[], done: string, nothing: string, deps: CliDeps): void {
  for (const { path, changed } of files) deps.stdout.write(`${path} ${changed ? done : nothing}\n`);
}
