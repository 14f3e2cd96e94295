/** `heddle policy lint`: what in the policies does nothing. */
import type { Command } from 'commander';
import { HeddleError } from '../../lib/errors.ts';
import { type Finding, LINT_CHECKS, lint } from '../../policy/analyse/lint.ts';
import { policyText } from '../../policy/decision.ts';
import type { CliDeps } from '../deps.ts';
import { collect, outputFormat } from '../flags.ts';
import { answers, type EstateFlags, printValue, sourceOf, withEstate } from './common.ts';
import { type LoadedEstate, loadEstate } from './read-estate.ts';
import { tableIn } from './render-graph.ts';

interface LintFlags extends EstateFlags {
  skip?: string[];
}

const FORMATS = ['text', 'json', 'yaml', 'csv', 'md'] as const;

const examples = `
Examples:
  heddle policy lint -f k8s/
  heddle policy lint -f k8s/ --skip no-peer -o json

Checks:
  unreadable          a part that cannot be read, and so matches nothing
  selects-nothing     the policy selects no pod that is known
  never-matches       the rule can match no flow, whatever pods may come
  no-peer             no pod that is known is the peer
  unknown-port-name   no destination has a port of this name
  shadowed            it never decides: rules before it decide all that it does, and alike
  redundant           without it every verdict is the same; all that are told can be removed together

0 if nothing is found, 1 if something is.`;

export function addLint(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('lint').description('what in the policies does nothing'))
    .option('--skip <check>', 'leave it out; repeatable', collect)
    .option('-o, --output <format>', `${FORMATS.join(', ')} (docs/schemas/policy-lint.json)`)
    .addHelpText('after', examples)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<LintFlags>();
      const format = outputFormat(flags.output, FORMATS) ?? 'text';
      const skip = skipOf(flags.skip ?? []);
      const live = flags.live ?? (flags.file ?? []).length === 0;
      const loaded = await loadEstate({ ...sourceOf(flags), live, lenient: true }, deps);
      const findings = lint(loaded.estate).filter(({ check }) => !skip.has(check));
      if (format === 'json' || format === 'yaml')
        await printValue({ findings: findings.map((each) => findingOutput(each, loaded)) }, format, deps);
      else deps.stdout.write(findingsText(format, findings, loaded));
      process.exitCode = findings.length === 0 ? answers.yes : answers.no;
    });
}

function skipOf(words: readonly string[]): ReadonlySet<string> {
  const known: readonly string[] = LINT_CHECKS;
  const unknown = words.find((word) => !known.includes(word));
  if (unknown === undefined) return new Set(words);
  throw new HeddleError('BadFlag', `--skip "${unknown}": expected ${LINT_CHECKS.join(', ')}`);
}

export function findingOutput({ check, policy, path, message }: Finding, { placeOf }: LoadedEstate) {
  const place = placeOf(policy, path);
  return { check, ...policy, path, file: place?.file ?? null, line: place?.line ?? null, message };
}

function findingsText(
  format: 'text' | 'csv' | 'md',
  findings: readonly Finding[],
  loaded: LoadedEstate,
): string {
  if (format === 'text') {
    if (findings.length === 0) return 'nothing found\n';
    return findings
      .map((finding) => {
        const place = loaded.placeOf(finding.policy, finding.path);
        const where = place ? `${place.file}:${place.line}: ` : '';
        return `${where}${finding.check}: ${policyText(finding.policy)} ${finding.path} ${finding.message}\n`;
      })
      .join('');
  }
  const rows = findings.map((finding) => {
    const { check, file, line, path, message } = findingOutput(finding, loaded);
    return [check, file === null ? '' : `${file}:${line}`, policyText(finding.policy), path, message];
  });
  return tableIn(format, ['CHECK', 'WHERE', 'POLICY', 'PATH', 'MESSAGE'], rows);
}
