/** What the user names on the command line: `pods`, `pod/web`, `svc,deploy`, `all`. */

import { nearest } from '../api/manifest/nearest.ts';
import { findByUserWord, ofCategory, registry } from '../api/registry.ts';
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
