/** Validation of selector objects. */
import { forbidden, formatted, invalid, type Problems, required } from './field-error.ts';
import { labelValue, qualifiedName } from './formats.ts';
import { validateLabels } from './metadata.ts';
import { type LabelSelector, OPERATORS } from './selector.ts';

export function* validateLabelSelector(selector: LabelSelector | undefined, path: string): Problems {
  if (!selector) return;
  yield* validateLabels(selector.matchLabels, `${path}.matchLabels`);
  for (const [i, expression] of (selector.matchExpressions ?? []).entries()) {
    const at = `${path}.matchExpressions[${i}]`;
    const values = expression.values ?? [];
    if (expression.operator === 'In' || expression.operator === 'NotIn') {
      if (values.length === 0)
        yield required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (expression.operator === 'Exists' || expression.operator === 'DoesNotExist') {
      if (values.length > 0)
        yield forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else
      yield invalid(
        `${at}.operator`,
        expression.operator,
        `not a valid selector operator (expected one of ${OPERATORS.join(', ')})`,
      );
    yield* formatted(`${at}.key`, expression.key ?? '', qualifiedName);
    for (const [j, value] of values.entries()) yield* formatted(`${at}.values[${j}]`, value, labelValue);
  }
}
