/** The smallest change of `heddle policy explain`, for people and programs. */
import { partyText } from '../../policy/analyse/connectivity.ts';
import { changeOutput, type ChangeOutput } from '../../policy/analyse/diff.ts';
import { portSetText } from '../../policy/analyse/port-set.ts';
import type { Edit, SmallestChange } from '../../policy/analyse/smallest-change.ts';
import type { PolicyRef } from '../../policy/decision.ts';
import { policyText } from '../../policy/decision.ts';
import type { Explanation } from '../../policy/explain.ts';
import type { LoadedEstate } from './read-estate.ts';

export interface EditOutput extends PolicyRef {
  /** The list that `add` goes to; empty where the object is new. */
  readonly path: string;
  readonly file: string | null;
  readonly line: number | null;
  readonly add: unknown;
}

export interface ExplainChange {
  /** What the flow's verdict becomes. */
  readonly turned: 'allow' | 'deny';
  /** It turns the flow and nothing else. */
  readonly exact: boolean;
  readonly edits: readonly EditOutput[];
  readonly also: readonly ChangeOutput[];
}

/** Null where nothing was found that, added to a policy, turns it. */
export function changeOutputOf(
  change: SmallestChange | undefined,
  loaded: LoadedEstate,
): ExplainChange | null {
  if (!change) return null;
  const edits = change.edits.map(({ policy: { kind, namespace, name }, path, value }) => {
    const place = path === '' ? undefined : loaded.placeOf({ kind, namespace, name }, path);
    return { kind, namespace, name, path, file: place?.file ?? null, line: place?.line ?? null, add: value };
  });
  return {
    turned: change.turned,
    exact: change.also.length === 0,
    edits,
    also: change.also.map(changeOutput),
  };
}

export async function changeText(
  change: SmallestChange | undefined,
  { decision }: Explanation,
  loaded: LoadedEstate,
): Promise<string> {
  if (!change)
    return decision.verdict === 'allow'
      ? ''
      : '\nno rule was found that, added, allows it: change what denies it instead\n';
  const { stringify } = await import('yaml');
  const exact = change.also.length === 0;
  const lines = [
    '',
    `smallest change that ${change.turned === 'allow' ? 'allows' : 'denies'} it${exact ? ', and nothing else' : ''}:`,
  ];
  for (const edit of change.edits) {
    lines.push(`  ${editHead(edit, loaded)}`);
    const yaml = stringify(edit.path === '' ? edit.value : [edit.value], { lineWidth: 0, version: '1.1' });
    lines.push(
      ...yaml
        .trimEnd()
        .split('\n')
        .map((line) => `    ${line}`),
    );
  }
  if (!exact) {
    lines.push('  no smaller one was found; it would also change:');
    for (const { src, dst, before, after } of change.also.slice(0, 10))
      lines.push(
        `    ${partyText(src)} → ${partyText(dst)}: ${portSetText(before)} becomes ${portSetText(after)}`,
      );
    if (change.also.length > 10) lines.push(`    … and ${change.also.length - 10} more`);
  }
  return `${lines.join('\n')}\n`;
}

function editHead({ policy, path }: Edit, { placeOf }: LoadedEstate): string {
  if (path === '') return 'a new object:';
  const place = placeOf(policy, path);
  return `to ${path} of ${policyText(policy)}${place ? ` (${place.file}:${place.line})` : ''} add:`;
}
