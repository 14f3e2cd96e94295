/** The demo's result for machines; its schema is docs/schemas/demo.json. */
import type { Judgement } from './judge.ts';
import type { Round } from './run.ts';

export interface Report {
  readonly attempts: readonly AttemptReport[];
  readonly allowed: number;
  readonly denied: number;
  /** Attempts whose observation differs from what the policies say. */
  readonly mismatches: number;
  readonly leftOut: number;
}

export interface AttemptReport {
  readonly from: string;
  readonly to: string;
  readonly sourcePod: string;
  readonly host: string;
  readonly port: number;
  readonly protocol: string;
  readonly family: 4 | 6;
  readonly observed: Judgement['observed'];
  readonly expected: 'allowed' | 'denied' | 'unknown';
  readonly by: string;
  readonly latencyUs: number | null;
  readonly problems: readonly string[];
}

function attemptReport(judgement: Judgement): AttemptReport {
  const { attempt, observation, observed, expected, by, problems } = judgement;
  const { from, to, source, host, port, protocol, family } = attempt;
  return {
    from: from.key,
    to: to.key,
    sourcePod: `${source.namespace}/${source.name}`,
    host,
    port,
    protocol,
    family,
    observed,
    expected: expected === undefined ? 'unknown' : expected.verdict === 'allow' ? 'allowed' : 'denied',
    by,
    latencyUs: observation.latencyUs ?? null,
    problems,
  };
}

export function report(round: Round): Report {
  const { judgements, leftOut } = round;
  const count = (observed: Judgement['observed']) =>
    judgements.filter((judgement) => judgement.observed === observed).length;
  return {
    attempts: judgements.map(attemptReport),
    allowed: count('allowed'),
    denied: count('denied'),
    mismatches: judgements.filter(({ problems }) => problems.length > 0).length,
    leftOut,
  };
}

export function summary(result: Report): string {
  const tried = `${result.attempts.length} connections tried: ${result.allowed} allowed, ${result.denied} denied`;
  const verdict =
    result.mismatches === 0
      ? 'every verdict and its rule as the policies say'
      : `${result.mismatches} NOT as the policies say`;
  const left = result.leftOut === 0 ? '' : ` (${result.leftOut} more left out: raise --max-attempts)`;
  return `${tried}; ${verdict}${left}`;
}
