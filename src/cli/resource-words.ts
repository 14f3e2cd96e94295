/** What the user names on the command line: `pods`, `pod/web`, `svc,deploy`, `all`. */

import { nearest } from '../api/manifest/nearest.ts';
import { allByUserWord, findByUserWord, ofCategory, registry } from '../api/registry.ts';
import type { Resource } from '../api/resource.ts';
import { HeddleError } from '../lib/errors.ts';

export interface Target {
  readonly resource: Resource;
  /** All of the kind when absent. */
  readonly name?: string;
}

/**
 * `['pods,svc']`, `['pod', 'a', 'b']`, `['pod/a', 'svc/b']`.
 * @throws HeddleError `BadFlag`
 */
export function targetsOf(words: readonly string[]): Target[] {
  const [first, ...rest] = words;
  if (first === undefined)
    throw new HeddleError('BadFlag', 'no kind named', { hint: `kinds: ${kindList()}` });
  if (words.some((word) => word.includes('/'))) return words.map(slashed);
  const resources = first.split(',').flatMap(resourcesOf);
  if (rest.length === 0) return resources.map((resource) => ({ resource }));
  const [resource] = resources;
  if (resources.length > 1 || !resource)
    throw new HeddleError(
      'BadFlag',
      `"${first}" names several kinds, so ${rest.join(', ')} could be any of them`,
      {
        hint: `write kind/name, for example pod/${rest[0]}`,
      },
    );
  return rest.map((name) => ({ resource, name }));
}

/** What kubectl warns of: short names that could be another kind as well. Undefined if none is. */
export function ambiguityNote(words: readonly string[]): string | undefined {
  const [first = ''] = words;
  const named = first.includes('/') ? words.map((word) => word.split('/')[0] ?? '') : first.split(',');
  const lines = [...new Set(named)].flatMap((word) => {
    const found = allByUserWord(word);
    const [meant, ...others] = found.map(({ kind }) => `${kind.resource}.${kind.group}`);
    return others.length > 0 && found[0]?.shortNames.includes(word.toLowerCase())
      ? [`note: ${word} is ${meant} here; for the other write ${others.join(' or ')}\n`]
      : [];
  });
  return lines.length > 0 ? lines.join('') : undefined;
}

function slashed(word: string): Target {
  const [kind = '', name = '', ...more] = word.split('/');
  if (name === '' || more.length > 0)
    throw new HeddleError('BadFlag', `"${word}": expected kind/name, for example pod/web`, {
      hint: 'either every argument is kind/name, or the first is a kind and the rest are names',
    });
  return { resource: resourceOf(kind), name };
}

function resourcesOf(word: string): Resource[] {
  const category = ofCategory(word.toLowerCase());
  return category.length > 0 ? category : [resourceOf(word)];
}

/** @throws HeddleError `BadFlag` */
function resourceOf(word: string): Resource {
  const found = findByUserWord(word);
  if (found) return found;
  const guess = nearest(
    word,
    registry.flatMap((r) => [r.kind.resource, r.singular, ...r.shortNames]),
  );
  throw new HeddleError('BadFlag', `there is no kind "${word}"`, {
    hint: guess === undefined ? `kinds: ${kindList()}` : `did you mean "${guess}"?`,
  });
}

const kindList = (): string => registry.map((r) => r.kind.resource).join(', ');
