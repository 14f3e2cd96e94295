/** From an argument list to an exit code. */
import { Command, CommanderError } from 'commander';
import { errorText, HeddleError } from '../lib/errors.ts';
import { VERSION } from '../lib/version.ts';
import { type CliDeps, exitCodes } from './deps.ts';
import { usageCodes } from './usage-codes.ts';
import { type Verb, verbs } from './verbs.ts';

const epilogue = `
Examples:
  heddle up -f examples/shop          a cluster of two nodes with an application, until Ctrl-C
  heddle up --nodes 5 --detach        the same in the background
  heddle status                       what runs
  heddle down                         remove it all

"heddle VERB --help" has options and examples. Exit codes and the environment are in docs/cli.md.`;

export function createProgram(deps: CliDeps): Command {
  const program = new Command('heddle')
    .description('Cloud-native networking and security: real cluster networks on one machine')
    .version(VERSION, '-V, --version')
    .addHelpText('after', epilogue)
    .showHelpAfterError('("heddle VERB --help" shows what it takes)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => deps.stdout.write(text),
      writeErr: (text) => deps.stderr.write(text),
    });
  return program;
}

/** Adds one verb with all its options, or, without `load`, only its name and summary. */
export async function mountVerb(program: Command, verb: Verb, deps: CliDeps): Promise<void> {
  if (program.commands.some((command) => command.name() === verb.name)) return;
  (await verb.load()).register(program, deps);
}

function mountNames(program: Command): void {
  for (const verb of verbs) program.command(verb.name).description(verb.summary).allowUnknownOption();
}

export async function main(argv: readonly string[], deps: CliDeps): Promise<number> {
  const program = createProgram(deps);
  const name = argv[0] === 'help' ? argv[1] : argv[0];
  const verb = verbs.find((each) => each.name === name);
  try {
    if (verb) await mountVerb(program, verb, deps);
    else mountNames(program);
    const args = argv[0] === 'help' && verb ? [verb.name, '--help'] : argv.length === 0 ? ['--help'] : argv;
    await program.parseAsync([...args], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : exitCodes.ok;
  } catch (error) {
    return report(error, deps, verb?.failed);
  }
}

const otherCodes: Readonly<Record<string, number>> = {
  NotReady: exitCodes.notReady,
  Interrupted: exitCodes.interrupted,
};

/** Prints what went wrong, and picks the exit code. */
export function report(
  error: unknown,
  deps: Pick<CliDeps, 'stderr'>,
  failed: number = exitCodes.failed,
): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  if (!(error instanceof HeddleError)) {
    deps.stderr.write(`error: ${errorText(error)}\n`);
    if (isBug(error))
      deps.stderr.write(`${error.stack}\n  hint: this is a defect of Heddle; please report it\n`);
    return failed;
  }
  deps.stderr.write(`error: ${error.message} [${error.code}]\n`);
  if (error.cause !== undefined) deps.stderr.write(`  cause: ${errorText(error.cause)}\n`);
  if (error.hint !== undefined) deps.stderr.write(`  hint: ${error.hint}\n`);
  return usageCodes.has(error.code) ? exitCodes.usage : (otherCodes[error.code] ?? failed);
}

const isBug = (error: unknown): error is Error =>
  error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
