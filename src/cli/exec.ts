/** `heddle exec POD -- CMD`: a command in a pod's network and files, its exit code handed on. */
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { clusterPaths } from '../cluster/paths.ts';
import { execOverSocket } from '../podhost/exec-protocol.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { requireRoot, withDataDir } from './flags.ts';
import { findPod } from './pod-target.ts';

const examples = `
Examples:
  heddle exec web-0 -n shop -- ip address
  heddle exec deploy/web -n shop -- curl -s http://catalog:8080/
  echo hello | heddle exec -i svc/echo -- cat

The command runs with the pod's network, host name, names (resolv.conf) and user id, on a read-only view of
this machine's programs. The exit code is the command's own.`;

interface ExecFlags {
  dataDir: string;
  namespace: string;
  stdin?: boolean;
  container?: string;
}

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('exec').description('run a command in a pod'))
    .argument('<pod>', 'POD, or deploy/NAME, rs/NAME, svc/NAME: one of its pods')
    .argument('<command...>', 'after --: the program and its arguments')
    .option('-n, --namespace <name>', 'of the pod', 'default')
    .option('-c, --container <name>', 'of the pod; default: its first')
    .option('-i, --stdin', 'hand standard input to the command')
    .addHelpText('after', examples)
    .action((pod: string, argv: string[], flags: ExecFlags) => exec(pod, argv, flags, deps));
}

async function exec(word: string, argv: string[], flags: ExecFlags, deps: CliDeps): Promise<void> {
  requireRoot(deps.isRoot, 'running a command in a pod');
  const paths = clusterPaths(flags.dataDir);
  const client = await connect(paths);
  const target = await findPod(client, word, flags.namespace).finally(() => client.close());
  process.exitCode = await execOverSocket(paths.node(target.node).agentSocket, {
    namespace: target.namespace,
    pod: target.pod,
    argv,
    ...(flags.container ? { container: flags.container } : {}),
    ...(flags.stdin ? { stdin: deps.stdin as Readable } : {}),
    stdout: deps.stdout as NodeJS.WriteStream,
    stderr: deps.stderr as NodeJS.WriteStream,
  });
  // Standard input may still be open and would keep this process alive.
  (deps.stdin as Readable).destroy();
}
