import type { Command } from 'commander';
import type { CliDeps } from './deps.ts';

export function register(program: Command, _deps: CliDeps): void {
  program.command('kubeconfig');
}
