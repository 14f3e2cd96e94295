/** Selectors of Cilium's policies, whose keys may name the source of the label. */
import { parseLabelKey, RESERVED } from './cilium-words.ts';
import { forbidden, formatted, invalid, type Problems, required } from './field-error.ts';
import { labelValue, qualifiedName } from './formats.ts';
import { type LabelSelector, OPERATORS } from './selector.ts';

function* validateKey(text: string, path: string, sources: readonly string[]): Problems {
  const { source, key } = parseLabelKey(text);
  if (!sources.includes(source))
    yield invalid(
      path,
      text,
      `labels of the source ${source} are not known here (expected ${sources.map((each) => `${each}:`).join(', ')} or none)`,
    );
  else if (source !== 'reserved') yield* formatted(path, key, qualifiedName);
  else if (!RESERVED.includes(key))
    yield invalid(path, text, `expected reserved: with one of ${RESERVED.join(', ')}`);
}

/** @param sources that keys may begin with, as `k8s:` */
export function* validateCiliumSelector(
  selector: LabelSelector | undefined,
  path: string,
  sources: readonly string[],
): Problems {
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
    yield* validateKey(key, `${path}.matchLabels`, sources);
    yield* formatted(`${path}.matchLabels`, value, labelValue);
  }
  for (const [i, { key, operator, values = [] }] of (selector?.matchExpressions ?? []).entries()) {
    const at = `${path}.matchExpressions[${i}]`;
    yield* validateKey(key ?? '', `${at}.key`, sources);
    const listing = operator === 'In' || operator === 'NotIn';
    if (!OPERATORS.some((known) => known === operator))
      yield invalid(
        `${at}.operator`,
        operator,
        `not a valid selector operator (expected one of ${OPERATORS.join(', ')})`,
      );
    else if (listing && values.length === 0)
      yield required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    else if (!listing && values.length > 0)
      yield forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    for (const [j, value] of values.entries()) yield* formatted(`${at}.values[${j}]`, value, labelValue);
  }
}
