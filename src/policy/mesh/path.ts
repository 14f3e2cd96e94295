/** Paths of requests, as Istio's proxies make them before they match ("Authorization Policy Normalization", BASE). */
import { withoutQuery } from '../request.ts';

/**
 * Without the query, with `\` as `/`, characters that need no escape (RFC 3986 section 2.3) plain, and dot segments
 * (section 5.2.4) taken out. What is no path stays as it is.
 */
export function normalPath(sent: string): string {
  const path = withoutQuery(sent);
  if (isNormal(path)) return path;
  if (!/^[/\\]/.test(path)) return path;
  return withoutDots(path.replaceAll('\\', '/').replaceAll(/%([0-9a-f]{2})/gi, plainEscape));
}

/** Nearly all are. */
function isNormal(path: string): boolean {
  if (path.charCodeAt(0) !== SLASH) return false;
  let before = SLASH;
  for (let i = 1; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === PERCENT || code === BACKSLASH || (code === DOT && before === SLASH)) return false;
    before = code;
  }
  return true;
}

const PERCENT = 37;
const DOT = 46;
const SLASH = 47;
const BACKSLASH = 92;

function plainEscape(escape: string, digits: string): string {
  const character = String.fromCharCode(Number.parseInt(digits, 16));
  return /[A-Za-z0-9._~-]/.test(character) ? character : escape;
}

function withoutDots(path: string): string {
  const kept: string[] = [];
  const segments = path.slice(1).split('/');
  for (const [i, segment] of segments.entries()) {
    const isLast = i === segments.length - 1;
    if (segment === '..') kept.pop();
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (isLast) kept.push('');
  }
  return `/${kept.join('/')}`;
}
