/** The demo's result as text. */
import type { Judgement } from './judge.ts';

export interface Paint {
  good(text: string): string;
  bad(text: string): string;
  dim(text: string): string;
}

export const plain: Paint = { good: (text) => text, bad: (text) => text, dim: (text) => text };

export const coloured: Paint = {
  good: (text) => `\u001b[32m${text}\u001b[0m`,
  bad: (text) => `\u001b[31m${text}\u001b[0m`,
  dim: (text) => `\u001b[2m${text}\u001b[0m`,
};

interface Row {
  readonly cells: readonly string[];
  readonly colour: (text: string) => string;
}

const headings = ['FROM', 'TO', 'TRIED', 'RESULT', 'LATENCY', 'BY'];

/** Of connections that stood: one figure, or the range of several. */
function latency(group: readonly Judgement[]): string {
  const times = group
    .filter(({ observed }) => observed === 'allowed')
    .flatMap(({ observation }) => observation.latencyUs ?? [])
    .toSorted((x, y) => x - y)
    .map((us) => (us / 1000).toFixed(2));
  const [least, most] = [times[0], times.at(-1)];
  if (least === undefined) return '-';
  return least === most ? `${least} ms` : `${least}–${most} ms`;
}

const what = ({ attempt }: Judgement): string => `${attempt.label}:${attempt.port}/${attempt.protocol}`;

/** Judgements that differ in nothing but family and latency are one row. */
function rows(judgements: readonly Judgement[], paint: Paint): Row[] {
  const groups = Map.groupBy(judgements, (judgement) =>
    JSON.stringify([
      judgement.attempt.from.key,
      judgement.attempt.to.key,
      what(judgement),
      judgement.observed,
      judgement.by,
      judgement.problems,
    ]),
  );
  return [...groups.values()].map((group) => {
    const [first] = group;
    if (!first) throw new Error('a group is never empty');
    const families = [...new Set(group.map(({ attempt }) => `v${attempt.family}`))].toSorted().join('+');
    const { observed, problems, attempt } = first;
    const colour = problems.length > 0 ? paint.bad : observed === 'denied' ? paint.dim : paint.good;
    const result = problems.length > 0 ? `${observed} !` : observed;
    const by = problems.length > 0 ? `${problems.join('; ')} [${first.by}]` : first.by;
    return {
      cells: [attempt.from.key, attempt.to.key, `${what(first)} ${families}`, result, latency(group), by],
      colour,
    };
  });
}

export function table(judgements: readonly Judgement[], paint: Paint): string {
  const body = rows(judgements, paint);
  const widths = headings.map((heading, i) =>
    Math.max(heading.length, ...body.map(({ cells }) => cells[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(headings), ...body.map(({ cells, colour }) => colour(line(cells)))].join('\n');
}

const mark = (judgements: readonly Judgement[]): string => {
  if (judgements.some(({ problems }) => problems.length > 0)) return '!';
  const allowed = judgements.filter(({ observed }) => observed === 'allowed').length;
  if (judgements.length === 0) return ' ';
  if (allowed === judgements.length) return '+';
  return allowed === 0 ? '.' : '~';
};

/** One character a pair: `+` all allowed, `.` all denied, `~` some ports, `!` not as the policies say. */
export function matrix(judgements: readonly Judgement[]): string {
  const keys = [
    ...new Set(judgements.flatMap(({ attempt }) => [attempt.from.key, attempt.to.key])),
  ].toSorted();
  const width = Math.max(...keys.map((key) => key.length));
  const pairs = Map.groupBy(judgements, ({ attempt }) => `${attempt.from.key} ${attempt.to.key}`);
  const header = `${''.padEnd(width)}  ${keys.map((_, i) => String(i + 1).padStart(2)).join(' ')}`;
  const sources = new Set(judgements.map(({ attempt }) => attempt.from.key));
  const lines = keys.flatMap((from, i) => {
    // Nobody outside is asked to call in.
    if (!sources.has(from)) return [];
    const cells = keys.map((to) => ` ${mark(pairs.get(`${from} ${to}`) ?? [])}`);
    return `${from.padEnd(width)}  ${cells.join(' ')}  ${String(i + 1)}`;
  });
  return [header, ...lines, '+ allowed   . denied   ~ some ports only   ! not as the policies say'].join(
    '\n',
  );
}
