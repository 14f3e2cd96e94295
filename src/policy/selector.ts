/** Label selectors as a sorted list of requirements with one text, so that equal selectors are seen to be equal. */
import type { Labels } from './world.ts';

export interface Requirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  /** Sorted; empty for Exists and DoesNotExist. */
  readonly values: readonly string[];
}

export interface Selector {
  /** All must hold. */
  readonly requirements: readonly Requirement[];
  /** `app=web,tier in (a,b),!old`; `*` if it selects everything. Equal texts select the same. */
  readonly text: string;
}

/** The wire form, unchecked. */
export interface LabelSelectorInput {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
  readonly matchExpressions?:
    | ReadonlyArray<{ key: string; operator: string; values?: readonly string[] | undefined }>
    | undefined;
}

const operators: readonly string[] = ['In', 'NotIn', 'Exists', 'DoesNotExist'];

function isOperator(text: string): text is Requirement['operator'] {
  return operators.includes(text);
}

/** Every word of a complaint starts with the path within the selector. */
export function parseSelector(
  input: LabelSelectorInput,
): { ok: true; selector: Selector } | { ok: false; path: string; message: string } {
  const requirements: Requirement[] = Object.entries(input.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: 'In',
    values: [value],
  }));
  for (const [i, expression] of (input.matchExpressions ?? []).entries()) {
    const path = `matchExpressions[${i}]`;
    const { key, operator } = expression;
    const values = [...new Set(expression.values)].sort();
    if (!isOperator(operator))
      return {
        ok: false,
        path: `${path}.operator`,
        message: `"${operator}" is not In, NotIn, Exists or DoesNotExist`,
      };
    const needsValues = operator === 'In' || operator === 'NotIn';
    if (needsValues !== values.length > 0)
      return {
        ok: false,
        path: `${path}.values`,
        message: needsValues
          ? `${operator} needs at least one value`
          : `${operator} takes no values, but has ${values.length}`,
      };
    requirements.push({ key, operator, values });
  }
  return { ok: true, selector: selectorOf(requirements) };
}

function selectorOf(requirements: readonly Requirement[]): Selector {
  const byText = new Map(requirements.map((r) => [requirementText(r), r]));
  const texts = [...byText.keys()].sort();
  return { requirements: texts.map((t) => byText.get(t)!), text: texts.length === 0 ? '*' : texts.join(',') };
}

function requirementText({ key, operator, values }: Requirement): string {
  if (operator === 'Exists') return key;
  if (operator === 'DoesNotExist') return `!${key}`;
  if (operator === 'In' && values.length === 1) return `${key}=${values[0]}`;
  if (operator === 'NotIn' && values.length === 1) return `${key}!=${values[0]}`;
  return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`;
}

export const everything: Selector = selectorOf([]);

export function selects(selector: Selector, labels: Labels): boolean {
  return selector.requirements.every((requirement) => holds(requirement, labels));
}

/** NotIn holds where the key is absent, as Kubernetes has it. */
function holds({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  const listed = value !== undefined && values.includes(value);
  if (operator === 'In') return listed;
  if (operator === 'NotIn') return !listed;
  return (operator === 'Exists') === (value !== undefined);
}
