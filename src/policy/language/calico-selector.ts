/** Selector expressions of projectcalico.org/v3 → selectors of the model. */
import { parseSelectorExpression, type SelectorExpression, usesGlobal } from '../../api/calico-selector.ts';
import type { LabelSelector, Labels, Matcher, Requirement } from '../../api/selector.ts';
import type { Selector } from '../selector.ts';

export type ReadExpression =
  | { readonly ok: true; readonly expression: SelectorExpression }
  | { readonly ok: false; readonly message: string };

/** Messages go behind a path. `global`: whether it may be `global()`, which selects by where a thing is and not by its labels. */
export function readExpression(text: string, global = false): ReadExpression {
  const parsed = parseSelectorExpression(text);
  if (!parsed.ok) return { ok: false, message: `is no expression: ${parsed.message}` };
  if (!usesGlobal(parsed.expression)) return parsed;
  if (global && parsed.expression.op === 'global') return parsed;
  const message =
    'has global(), which may only be the whole of the namespaceSelector of a source or destination';
  return { ok: false, message };
}

export function calicoSelector(expression: SelectorExpression): Selector {
  const plain = normal(expression);
  const written = writtenOf(plain);
  return { selects: matcherOf(plain), text: textOf(plain), ...(written ? { written } : {}) };
}

/** Undefined where Kubernetes' selectors cannot say it. */
function writtenOf(expression: SelectorExpression): LabelSelector | undefined {
  if (expression.op === 'all') return {};
  const parts = (expression.op === 'and' ? expression.of : [expression]).map(requirementOf);
  const known = parts.filter((part) => part !== undefined);
  return known.length < parts.length ? undefined : { matchExpressions: known };
}

function requirementOf(expression: SelectorExpression): Requirement | undefined {
  switch (expression.op) {
    case '==':
      return { key: expression.key, operator: 'In', values: [expression.value] };
    case '!=':
      return { key: expression.key, operator: 'NotIn', values: [expression.value] };
    case 'in':
    case 'not in': {
      const { key, values, op } = expression;
      return values.length > 0 ? { key, operator: op === 'in' ? 'In' : 'NotIn', values } : undefined;
    }
    case 'has':
      return { key: expression.key, operator: 'Exists' };
    case 'not':
      return expression.of.op === 'has' ? { key: expression.of.key, operator: 'DoesNotExist' } : undefined;
    default:
      return undefined;
  }
}

const NEGATED = {
  '==': '!=',
  '!=': '==',
  in: 'not in',
  'not in': 'in',
} as const satisfies Partial<Record<SelectorExpression['op'], SelectorExpression['op']>>;

/** One way to write what has several, so that equal selectors mostly have equal texts. */
function normal(expression: SelectorExpression): SelectorExpression {
  switch (expression.op) {
    case 'in':
    case 'not in': {
      const values = [...new Set(expression.values)].sort();
      const [value = ''] = values;
      if (values.length !== 1) return { ...expression, values };
      return { op: expression.op === 'in' ? '==' : '!=', key: expression.key, value };
    }
    case 'not':
      return negated(normal(expression.of));
    case 'and':
    case 'or': {
      const flat = expression.of
        .map(normal)
        .flatMap((each) => (each.op === expression.op ? each.of : [each]));
      const unique = new Map(flat.map((each) => [textOf(each), each]));
      const of = [...unique.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
      return of.length === 1 ? of[0]! : { op: expression.op, of };
    }
    default:
      return expression;
  }
}

function negated(expression: SelectorExpression): SelectorExpression {
  if (expression.op === 'not') return expression.of;
  if (expression.op === '==' || expression.op === '!=') return { ...expression, op: NEGATED[expression.op] };
  if (expression.op === 'in' || expression.op === 'not in')
    return { ...expression, op: NEGATED[expression.op] };
  return { op: 'not', of: expression };
}

function textOf(expression: SelectorExpression): string {
  switch (expression.op) {
    case 'all':
    case 'global':
      return `${expression.op}()`;
    case 'has':
      return `has(${expression.key})`;
    case 'in':
    case 'not in':
      return `${expression.key} ${expression.op} {${expression.values.map(quoted).join(', ')}}`;
    case 'not':
      return `!${textOf(expression.of)}`;
    case 'and':
    case 'or':
      return `(${expression.of.map(textOf).join(expression.op === 'and' ? ' && ' : ' || ')})`;
    default:
      return `${expression.key} ${expression.op} ${quoted(expression.value)}`;
  }
}

/** A text has no more than one of the two quotes in it: nothing in it can be escaped. */
const quoted = (text: string): string => (text.includes('"') ? `'${text}'` : `"${text}"`);

const valueOf = (labels: Labels | undefined, key: string): string | undefined =>
  labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;

function matcherOf(expression: SelectorExpression): Matcher {
  switch (expression.op) {
    case 'all':
    case 'global':
      return () => true;
    case 'has':
      return (labels) => valueOf(labels, expression.key) !== undefined;
    case 'in': {
      const values = new Set<string | undefined>(expression.values);
      return (labels) => values.has(valueOf(labels, expression.key));
    }
    case 'not in': {
      const values = new Set<string | undefined>(expression.values);
      return (labels) => !values.has(valueOf(labels, expression.key));
    }
    case 'not': {
      const inner = matcherOf(expression.of);
      return (labels) => !inner(labels);
    }
    case 'and': {
      const parts = expression.of.map(matcherOf);
      return (labels) => parts.every((part) => part(labels));
    }
    case 'or': {
      const parts = expression.of.map(matcherOf);
      return (labels) => parts.some((part) => part(labels));
    }
    case '!=':
      return (labels) => valueOf(labels, expression.key) !== expression.value;
    case 'contains':
      return (labels) => valueOf(labels, expression.key)?.includes(expression.value) ?? false;
    case 'starts with':
      return (labels) => valueOf(labels, expression.key)?.startsWith(expression.value) ?? false;
    case 'ends with':
      return (labels) => valueOf(labels, expression.key)?.endsWith(expression.value) ?? false;
    default:
      return (labels) => valueOf(labels, expression.key) === expression.value;
  }
}
