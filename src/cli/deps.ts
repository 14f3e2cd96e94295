/** What every verb is given instead of reaching for globals, so that tests can run them. */
import type { Command } from 'commander';

export interface CliDeps {
  readonly stdin: NodeJS.ReadableStream & { isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  readonly stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  /** Colours may be written to stdout. */
  readonly color: boolean;
  /** A person watches stderr: progress may redraw its line. */
  readonly interactive: boolean;
  /** The user behind sudo. */
  readonly invoker: { readonly uid: number; readonly gid: number } | undefined;
  /** Environment for processes that a verb starts. */
  readonly childEnv: Readonly<Record<string, string>>;
  readonly isRoot: boolean;
}

/** A verb's module: adds its command to the program. An action that has another exit code sets process.exitCode. */
export interface VerbModule {
  register(program: Command, deps: CliDeps): void;
}

export const exitCodes = {
  ok: 0,
  /** The operation was tried and did not succeed. */
  failed: 1,
  /** The command line or an input file was refused; nothing was done. */
  usage: 2,
  /** It was done, but did not become ready in the time given. */
  notReady: 3,
  interrupted: 130,
} as const;
