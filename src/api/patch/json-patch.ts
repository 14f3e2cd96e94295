/** JSON Patch, RFC 6902, with JSON Pointers, RFC 6901. */
import { clone, isObject, type Json, sameJson, setOwn } from '../../lib/json.ts';
import { PatchError } from './patch-error.ts';

/** Operations in one patch: as many as kube-apiserver takes. */
const LIMIT = 10_000;

type Operation = Record<string, Json>;

/** A new document. @throws PatchError; the document is unchanged then (RFC 6902 section 5) */
export function jsonPatch(document: Json, patch: Json): Json {
  if (!Array.isArray(patch)) throw new PatchError('malformed', 'a JSON patch is a list of operations');
  if (patch.length > LIMIT)
    throw new PatchError(
      'malformed',
      `a JSON patch may hold at most ${LIMIT} operations, not ${patch.length}`,
    );
  let result = clone(document);
  for (const [i, operation] of patch.entries()) {
    if (!isObject(operation))
      throw new PatchError('malformed', `operation ${i} of the JSON patch is not an object`);
    result = applyOne(result, operation, i);
  }
  return result;
}

function applyOne(document: Json, operation: Operation, index: number): Json {
  const op = operation['op'];
  const at = `operation ${index} (${typeof op === 'string' ? op : 'without op'})`;
  const pointer = (name: 'path' | 'from'): string[] => {
    const text = operation[name];
    if (typeof text !== 'string')
      throw new PatchError('malformed', `${at}: "${name}" must be a JSON pointer`);
    return readPointer(text, at);
  };
  const value = (): Json => {
    if (!Object.hasOwn(operation, 'value')) throw new PatchError('malformed', `${at}: "value" is missing`);
    return clone(operation['value'] ?? null);
  };
  switch (op) {
    case 'add':
      return add(document, pointer('path'), value(), at);
    case 'remove':
      return remove(document, pointer('path'), at);
    case 'replace': {
      const path = pointer('path');
      find(document, path, at);
      return path.length === 0 ? value() : replace(document, path, value(), at);
    }
    case 'move': {
      const [from, path] = [pointer('from'), pointer('path')];
      if (path.length > from.length && from.every((token, i) => token === path[i]))
        throw new PatchError('unfit', `${at}: a value cannot move into itself`);
      const moved = find(document, from, at);
      return add(remove(document, from, at), path, moved, at);
    }
    case 'copy':
      return add(document, pointer('path'), clone(find(document, pointer('from'), at)), at);
    case 'test': {
      const path = pointer('path');
      if (!sameJson(find(document, path, at), value()))
        throw new PatchError('unfit', `${at}: the value at "${operation['path'] as string}" is another`);
      return document;
    }
    default:
      throw new PatchError('malformed', `${at}: expected one of add, remove, replace, move, copy, test`);
  }
}

function readPointer(text: string, at: string): string[] {
  if (text === '') return [];
  if (!text.startsWith('/'))
    throw new PatchError('malformed', `${at}: "${text}" is not a JSON pointer: it must start with /`);
  if (/~(?![01])/.test(text))
    throw new PatchError('malformed', `${at}: "${text}" is not a JSON pointer: ~ must be ~0 or ~1`);
  return text
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

const missing = (path: readonly string[], at: string): PatchError =>
  new PatchError('unfit', `${at}: there is nothing at "/${path.join('/')}"`);

/** RFC 6901 section 4: no leading zeros; `-` is the place after the last, which holds nothing. */
function itemIndex(token: string): number | undefined {
  return /^(0|[1-9]\d{0,8})$/.test(token) ? Number(token) : undefined;
}

function find(document: Json, path: readonly string[], at: string): Json {
  let value: Json | undefined = document;
  for (const token of path) {
    if (Array.isArray(value)) value = value[itemIndex(token) ?? -1];
    else if (isObject(value)) value = Object.hasOwn(value, token) ? value[token] : undefined;
    else value = undefined;
    if (value === undefined) throw missing(path, at);
  }
  return value;
}

function add(document: Json, path: readonly string[], value: Json, at: string): Json {
  const last = path.at(-1);
  if (last === undefined) return value;
  const parent = find(document, path.slice(0, -1), at);
  if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : itemIndex(last);
    if (index === undefined || index > parent.length) throw missing(path, at);
    parent.splice(index, 0, value);
  } else if (isObject(parent)) setOwn(parent, last, value);
  else throw missing(path, at);
  return document;
}

function remove(document: Json, path: readonly string[], at: string): Json {
  const last = path.at(-1);
  find(document, path, at);
  if (last === undefined) return null;
  const parent = find(document, path.slice(0, -1), at);
  if (Array.isArray(parent)) parent.splice(itemIndex(last) ?? 0, 1);
  else delete (parent as Record<string, Json>)[last];
  return document;
}

function replace(document: Json, path: readonly string[], value: Json, at: string): Json {
  const last = path.at(-1) ?? '';
  const parent = find(document, path.slice(0, -1), at);
  if (Array.isArray(parent)) parent[itemIndex(last) ?? 0] = value;
  else setOwn(parent as Record<string, Json>, last, value);
  return document;
}
