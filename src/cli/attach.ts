/** `heddle attach POD`: the streams of a program that a pod runs already. */
import type { Command } from 'commander';
import type { CliDeps } from './deps.ts';
import { runInPod, type StreamFlags, withStreams } from './exec.ts';

const examples = `
Examples:
  heddle attach worker-0 -n shop               what it prints from now on
  heddle attach -it shell-0                    a container with stdin: true and tty: true

Ctrl-C without -t ends heddle, not the program.`;

export function register(program: Command, deps: CliDeps): void {
  withStreams(program.command('attach').description('connect to a program that runs in a pod'))
    .argument('<pod>', 'POD, or deploy/NAME, rs/NAME, svc/NAME: one of its pods')
    .addHelpText('after', examples)
    .action((pod: string, flags: StreamFlags) =>
      runInPod({ word: pod, doing: 'connecting to a program in a pod' }, flags, deps),
    );
}
