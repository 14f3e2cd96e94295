/** `heddle completion bash|zsh`: verbs and their flags, read from the verbs themselves. */
import { Argument, type Command } from 'commander';
import type { CliDeps } from './deps.ts';
import { createProgram, mountVerb } from './main.ts';
import { verbs } from './verbs.ts';

const examples = `
Examples:
  source <(heddle completion bash)
  heddle completion zsh > "\${fpath[1]}/_heddle"`;

export function register(program: Command, deps: CliDeps): void {
  program
    .command('completion')
    .description('print a completion script for a shell')
    .addArgument(new Argument('<shell>', 'which one').choices(['bash', 'zsh']))
    .addHelpText('after', examples)
    .action(async (shell: string) => {
      deps.stdout.write(shell === 'bash' ? bash(await words(deps)) : zsh(await words(deps)));
    });
}

interface Words {
  readonly verb: string;
  readonly summary: string;
  readonly flags: readonly string[];
}

async function words(deps: CliDeps): Promise<Words[]> {
  const program = createProgram(deps);
  for (const verb of verbs) await mountVerb(program, verb, deps);
  return program.commands.map((command) => ({
    verb: command.name(),
    summary: command.description(),
    flags: [...new Set(wordsOf(command))],
  }));
}

/** Flags, and of a verb with verbs of its own those and their flags. */
const wordsOf = (command: Command): string[] => [
  ...command.commands.map((each) => each.name()),
  ...command.options.flatMap(({ short, long }) => [short, long].flatMap((flag) => flag ?? [])),
  ...command.commands.flatMap(wordsOf),
];

function bash(all: readonly Words[]): string {
  const cases = all.map(({ verb, flags }) => `    ${verb}) words="${[...flags, '--help'].join(' ')}" ;;`);
  return `# bash completion of heddle
_heddle() {
  local word=\${COMP_WORDS[COMP_CWORD]} words
  case \${COMP_WORDS[COMP_CWORD - 1]} in
    -f | --file | --data-dir) COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${all.map(({ verb }) => verb).join(' ')} --help --version" -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
    *) words= ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o filenames -F _heddle heddle
`;
}

function zsh(all: readonly Words[]): string {
  const quote = (text: string) => text.replaceAll("'", `'\\''`).replaceAll(':', '\\:');
  const names = all.map(({ verb, summary }) => `    '${verb}:${quote(summary)}'`);
  const cases = all.map(
    ({ verb, flags }) => `    ${verb}) compadd -- ${[...flags, '--help'].join(' ')}; _files ;;`,
  );
  return `#compdef heddle
_heddle() {
  local -a verbs=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  case $words[2] in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _heddle ]; then _heddle "$@"; else compdef _heddle heddle; fi
`;
}
