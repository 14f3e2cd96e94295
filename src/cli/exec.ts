/** `heddle exec POD -- CMD` and `heddle attach POD`: programs in a pod, their streams and their exit code. */
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { clusterPaths } from '../cluster/paths.ts';
import { execOverSocket } from '../podhost/exec-protocol.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { requireRoot, withDataDir } from './flags.ts';
import { type LocalTerminal, openTerminal } from './local-terminal.ts';
import { findPod } from './pod-target.ts';

const examples = `
Examples:
  heddle exec web-0 -n shop -- ip address
  heddle exec deploy/web -n shop -- curl -s http://catalog:8080/
  heddle exec -it web-0 -n shop -- sh
  echo hello | heddle exec -i svc/echo -- cat

The command runs with the pod's network, host name, names (resolv.conf) and user id; in a stand-in, on a read-only
view of this machine's programs. The exit code is the command's own. When heddle goes, the command is hung up on.`;

export interface StreamFlags {
  dataDir: string;
  namespace: string;
  stdin?: boolean;
  tty?: boolean;
  container?: string;
}

export const withStreams = (command: Command): Command =>
  withDataDir(command)
    .option('-n, --namespace <name>', 'of the pod', 'default')
    .option('-c, --container <name>', 'of the pod; default: its first')
    .option('-i, --stdin', 'hand standard input on')
    .option('-t, --tty', 'in a terminal: with -i, yours');

export function register(program: Command, deps: CliDeps): void {
  withStreams(program.command('exec').description('run a command in a pod'))
    .argument('<pod>', 'POD, or deploy/NAME, rs/NAME, svc/NAME: one of its pods')
    .argument('<command...>', 'after --: the program and its arguments')
    .addHelpText('after', examples)
    .action((pod: string, argv: string[], flags: StreamFlags) =>
      runInPod({ word: pod, argv, doing: 'running a command in a pod' }, flags, deps),
    );
}

/** Sets the exit code. Without `argv`: what runs already. */
export async function runInPod(
  { word, argv, doing }: { word: string; argv?: string[]; doing: string },
  flags: StreamFlags,
  deps: CliDeps,
): Promise<void> {
  requireRoot(deps.isRoot, doing);
  const paths = clusterPaths(flags.dataDir);
  const client = await connect(paths);
  const target = await findPod(client, word, flags.namespace).finally(() => client.close());
  const terminal: LocalTerminal | undefined = flags.tty
    ? await openTerminal(deps, flags.stdin === true)
    : undefined;
  try {
    process.exitCode = await execOverSocket(paths.node(target.node).agentSocket, {
      namespace: target.namespace,
      pod: target.pod,
      ...(argv ? { argv } : {}),
      ...(flags.container ? { container: flags.container } : {}),
      ...(flags.stdin ? { stdin: deps.stdin as Readable } : {}),
      ...(terminal ? { terminal, signal: terminal.signal } : {}),
      stdout: deps.stdout as NodeJS.WriteStream,
      stderr: deps.stderr as NodeJS.WriteStream,
    });
  } finally {
    terminal?.close();
    // Standard input may still be open and would keep this process alive.
    (deps.stdin as Readable).destroy();
  }
}
