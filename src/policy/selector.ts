/** Label selectors of policies: checked, matched as everywhere (api/selector.ts), with one text for equal ones. */
import {
  compileSelector,
  type LabelSelector,
  type Matcher,
  OPERATORS,
  type SelectorExpression,
} from '../api/selector.ts';

export interface Selector {
  readonly selects: Matcher;
  /** `app=web,tier in (a,b),!old`; `*` if it selects everything. Equal texts select the same. */
  readonly text: string;
  /** Labels (`labelText`) that all that it selects have, as far as they are known: to look up, not to decide. */
  readonly needs?: readonly string[];
  /** As Kubernetes writes it; absent where its form of selectors cannot say it. */
  readonly written?: LabelSelector;
}

export const labelText = (key: string, value: string): string => `${key}=${value}`;

/** Every word of a complaint starts with the path within the selector. */
export function parseSelector(
  input: LabelSelector,
): { ok: true; selector: Selector } | { ok: false; path: string; message: string } {
  for (const [i, expression] of (input.matchExpressions ?? []).entries()) {
    const { operator } = expression;
    const values = expression.values ?? [];
    const path = `matchExpressions[${i}]`;
    if (!OPERATORS.some((known) => known === operator))
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
          : `${operator} takes no values, but has ${new Set(values).size}`,
      };
  }
  return { ok: true, selector: selectorOf(input) };
}

function selectorOf(input: LabelSelector): Selector {
  const texts = [
    ...Object.entries(input.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`),
    ...(input.matchExpressions ?? []).map(expressionText),
  ];
  return {
    selects: compileSelector(input),
    text: [...new Set(texts)].sort().join(',') || '*',
    needs: needsOf(input),
    written: input,
  };
}

function needsOf({ matchLabels, matchExpressions }: LabelSelector): string[] {
  const needs = Object.entries(matchLabels ?? {}).map(([key, value]) => labelText(key, value));
  for (const { key, operator, values } of matchExpressions ?? [])
    if (operator === 'In' && values?.length === 1) needs.push(labelText(key, values[0]!));
  return needs;
}

/** One value reads like a label, so that both ways to write it have the same text. */
function expressionText({ key, operator, values }: SelectorExpression): string {
  if (operator === 'Exists') return key;
  if (operator === 'DoesNotExist') return `!${key}`;
  const list = [...new Set(values)].sort();
  if (list.length === 1) return `${key}${operator === 'In' ? '=' : '!='}${list[0]}`;
  return `${key} ${operator === 'In' ? 'in' : 'notin'} (${list.join(',')})`;
}

export const everything: Selector = selectorOf({});
