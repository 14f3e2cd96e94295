/** Whether a text matches a pattern: in time of its length, whatever it is. */
import type { TemplatePart } from '../../api/istio-words.ts';
import type { PathPattern, RequestPrincipal, TextPattern } from './model.ts';

/** `abc`, `abc*`, `*abc`, `*`. */
export function readText(text: string): TextPattern {
  if (text === '*') return { how: 'present' };
  if (text.startsWith('*')) return { how: 'suffix', value: text.slice(1) };
  return text.endsWith('*') ? { how: 'prefix', value: text.slice(0, -1) } : { how: 'exact', value: text };
}

/** `issuer/subject`: the last `/` is between them, because issuers are addresses. */
export function readRequestPrincipal(text: string): RequestPrincipal {
  const at = text.lastIndexOf('/');
  const any: TextPattern = { how: 'present' };
  if (text === '*') return { issuer: any, subject: any };
  if (at < 0) {
    if (text.startsWith('*')) return { issuer: any, subject: readText(text) };
    const issuer = readText(text);
    return { issuer, subject: issuer.how === 'prefix' ? any : { how: 'exact', value: '' } };
  }
  const [issuer, subject] = [text.slice(0, at), text.slice(at + 1)];
  // One * only, at either end of the whole: of `*a/b*` the second is a character.
  if (text.startsWith('*')) return { issuer: readText(issuer), subject: { how: 'exact', value: subject } };
  return { issuer: { how: 'exact', value: issuer }, subject: readText(subject) };
}

export function matchesText(pattern: TextPattern, text: string): boolean {
  switch (pattern.how) {
    case 'exact':
      return text === pattern.value;
    case 'prefix':
      return text.startsWith(pattern.value);
    case 'suffix':
      return text.endsWith(pattern.value);
    default:
      return text !== '';
  }
}

export const matchesPath = (pattern: PathPattern, path: string): boolean =>
  pattern.how === 'template' ? matchesTemplate(pattern.parts, path) : matchesText(pattern, path);

/** Every place up to which the parts so far may reach, one part after the other. */
function matchesTemplate(parts: readonly TemplatePart[], path: string): boolean {
  const last = parts.at(-1);
  // Most are told apart by their ends.
  if (last && 'text' in last && !path.endsWith(last.text)) return false;
  let ends: readonly number[] = [0];
  for (const part of parts) {
    if ('text' in part)
      ends = ends.filter((end) => path.startsWith(part.text, end)).map((end) => end + part.text.length);
    else ends = part.any === 'one' ? withinSegments(ends, path) : fromOn(ends[0], path.length);
    if (ends.length === 0) return false;
  }
  return ends.includes(path.length);
}

/** @param starts in ascending order; so is what is returned */
function withinSegments(starts: readonly number[], path: string): number[] {
  const found: number[] = [];
  let seen = -1;
  for (const start of starts) {
    if (start < seen) continue;
    let at = start;
    while (at < path.length && path[at] !== '/') found.push(++at);
    seen = at;
  }
  return found;
}

const fromOn = (start: number | undefined, last: number): number[] =>
  start === undefined ? [] : Array.from({ length: last - start + 1 }, (_, i) => start + i);
