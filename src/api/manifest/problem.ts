/** What is wrong with a manifest, and where. */
import { HeddleError } from '../../lib/errors.ts';

export interface ManifestProblem {
  readonly file: string;
  /** From 1; absent when it is about the whole file. */
  readonly line?: number;
  readonly column?: number;
  /** `Deployment shop/web` */
  readonly object?: string;
  readonly message: string;
  readonly hint?: string;
}

/** `shop/web.yaml:12:3: Deployment shop/web: unknown field "spec.replica"; did you mean "replicas"?` */
export function problemText(problem: ManifestProblem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(':');
  return [place, problem.object, problem.message].filter((part) => part !== undefined).join(': ');
}

/** Problems shown of one set of manifests. */
const SHOWN = 20;

/** One error for all problems; undefined when there are none. */
export function manifestError(problems: readonly ManifestProblem[]): HeddleError | undefined {
  if (problems.length === 0) return undefined;
  const shown = problems.slice(0, SHOWN).map(problemText);
  if (problems.length > SHOWN) shown.push(`… and ${problems.length - SHOWN} more`);
  const head =
    problems.length === 1 ? '' : `${problems.length} problems in the manifests, nothing was applied:\n  `;
  const hint = problems.find((p) => p.hint !== undefined)?.hint;
  return new HeddleError('BadManifest', head + shown.join('\n  '), hint === undefined ? {} : { hint });
}
