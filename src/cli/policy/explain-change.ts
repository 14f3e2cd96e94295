/** The smallest change of `heddle policy explain`, for people and programs. */
import { partyOutput, partyText } from '../../policy/analyse/connectivity.ts';
import { changeOutput, type ChangeOutput } from '../../policy/analyse/diff.ts';
import { portSetText } from '../../policy/analyse/port-set.ts';
import type { Edit } from '../../policy/change/edit.ts';
import type { Answer, SmallestChange } from '../../policy/change/smallest-change.ts';
import type { NoChangeReason } from '../../policy/change/why-not.ts';
import type { PolicyRef } from '../../policy/decision.ts';
import { policyText } from '../../policy/decision.ts';
import type { LoadedEstate } from './read-estate.ts';

export interface EditOutput extends PolicyRef {
  readonly op: Edit['op'];
  /** Where it is made, as `op` says; empty where the object is new. */
  readonly path: string;
  readonly file: string | null;
  readonly line: number | null;
  readonly value: unknown;
}

export interface ExplainChange {
  /** What the flow's verdict becomes. */
  readonly turned: 'allow' | 'deny';
  /** It turns the flow and nothing else. */
  readonly exact: boolean;
  /** Of one request: whether it alone is spoken of, or every request on the connection; null of a connection. */
  readonly requests: 'this' | 'all' | null;
  readonly edits: readonly EditOutput[];
  readonly also: readonly ChangeOutput[];
  /** Of a request, of ICMP: other ends that the same flow turns between. */
  readonly between: readonly { readonly src: PartyOutput; readonly dst: PartyOutput }[];
}

type PartyOutput = ReturnType<typeof partyOutput>;

export interface ExplainNoChange {
  readonly why: NoChangeReason;
  readonly message: string;
  /** Where something is to be put right. */
  readonly at: (PolicyRef & { path: string; file: string | null; line: number | null }) | null;
}

/** One of the two is null. */
export interface ChangeOutputs {
  readonly change: ExplainChange | null;
  readonly noChange: ExplainNoChange | null;
}

export function changeOutputOf(answer: Answer, loaded: LoadedEstate): ChangeOutputs {
  if (!answer.change) {
    const { why, message, at } = answer.none;
    return { change: null, noChange: { why, message, at: at ? placed(at.policy, at.path, loaded) : null } };
  }
  const { edits, turned, also, between, requests } = answer.change;
  const change = {
    turned,
    exact: isExact(answer.change),
    requests: requests ?? null,
    edits: edits.map(({ policy, op, path, value }) => ({ ...placed(policy, path, loaded), op, value })),
    also: also.map(changeOutput),
    between: between.map(({ src, dst }) => ({ src: partyOutput(src), dst: partyOutput(dst) })),
  };
  return { change, noChange: null };
}

function placed({ kind, namespace, name }: PolicyRef, path: string, { placeOf }: LoadedEstate) {
  const place = path === '' ? undefined : placeOf({ kind, namespace, name }, path);
  return { kind, namespace, name, path, file: place?.file ?? null, line: place?.line ?? null };
}

const isExact = ({ also, between, requests }: SmallestChange): boolean =>
  also.length + between.length === 0 && requests !== 'all';

export async function changeText(answer: Answer, loaded: LoadedEstate): Promise<string> {
  if (!answer.change) {
    const { why, message, at } = answer.none;
    if (why === 'allowed') return '';
    const place = at && loaded.placeOf(at.policy, at.path);
    return `\nno change: ${message}${place ? ` (${place.file}:${place.line})` : ''}\n`;
  }
  const { edits, turned, also, between, requests } = answer.change;
  const { stringify } = await import('yaml');
  const lines = [
    '',
    `smallest change that ${turned === 'allow' ? 'allows' : 'denies'} it${isExact(answer.change) ? ', and nothing else' : ''}:`,
  ];
  for (const edit of edits) {
    lines.push(`  ${editHead(edit, loaded)}`);
    const isItem = edit.op === 'append' || edit.op === 'insert';
    const yaml = stringify(isItem ? [edit.value] : edit.value, {
      lineWidth: 0,
      version: '1.1',
      aliasDuplicateObjects: false,
    });
    lines.push(...yaml.trimEnd().replace(/^/gm, '    ').split('\n'));
  }
  if (requests === 'all') lines.push('  it speaks of connections: every other request on them passes it too');
  const beside = [
    ...also.map(
      ({ src, dst, before, after }) =>
        `${partyText(src)} → ${partyText(dst)}: ${portSetText(before)} becomes ${portSetText(after)}`,
    ),
    ...between.map(({ src, dst }) => `${partyText(src)} → ${partyText(dst)}: the same`),
  ];
  if (beside.length > 0) lines.push('  no smaller one was found; it would also change:');
  lines.push(...beside.slice(0, 10).map((text) => `    ${text}`));
  if (beside.length > 10) lines.push(`    … and ${beside.length - 10} more`);
  return `${lines.join('\n')}\n`;
}

function editHead({ policy, op, path }: Edit, { placeOf }: LoadedEstate): string {
  if (op === 'create') return 'a new object:';
  const place = placeOf(policy, path);
  const where = `${path} of ${policyText(policy)}${place ? ` (${place.file}:${place.line})` : ''}`;
  if (op === 'append') return `to ${where} add:`;
  if (op === 'insert') return `before ${where} add:`;
  return op === 'set' ? `set ${where} to:` : `in the place of ${where}:`;
}
