/** Names and patterns of names, of toFQDNs and of DNS requests. */
import { isDnsName, isDnsPattern } from '../../api/cilium-words.ts';
import type { CiliumNameSelector } from '../../api/cilium-policy-types.ts';
import type { TextMatch } from '../request.ts';
import type { Report } from './read.ts';

const plain = (name: string): string => name.toLowerCase().replace(/\.$/, '');

export function readName(selector: CiliumNameSelector, path: string, report: Report): TextMatch | undefined {
  const { matchName, matchPattern } = selector;
  if (matchName !== undefined && matchPattern === undefined && isDnsName(matchName)) {
    const wanted = plain(matchName);
    return { matches: (name) => name === wanted, text: wanted, form: { is: 'exact', values: [wanted] } };
  }
  if (matchPattern !== undefined && matchName === undefined && isDnsPattern(matchPattern))
    return namePattern(plain(matchPattern));
  report(path, 'needs one of matchName and matchPattern, of letters, digits, -, _ and, in a pattern, *');
  return undefined;
}

/** `*` stands for characters of one label; alone for every name; `**.` in front for one label or more. */
export function namePattern(pattern: string): TextMatch {
  if (pattern === '*') return { matches: () => true, text: '*', form: { is: 'any' } };
  const isDeep = pattern.startsWith('**.');
  const wanted = (isDeep ? pattern.slice(3) : pattern).split('.');
  return {
    text: pattern,
    form: { is: 'name', value: pattern },
    matches(name) {
      const labels = name.split('.');
      const more = labels.length - wanted.length;
      if (isDeep ? more < 1 : more !== 0) return false;
      return wanted.every((glob, i) => matchesGlob(glob, labels[i + more]!));
    },
  };
}

/** In the product of both lengths at most: of what a star has taken only the last one is ever taken back. */
function matchesGlob(glob: string, text: string): boolean {
  let [at, from] = [0, 0];
  let star = -1;
  let taken = 0;
  while (from < text.length) {
    if (glob[at] === '*') {
      star = at++;
      taken = from;
    } else if (at < glob.length && glob[at] === text[from]) {
      at++;
      from++;
    } else if (star >= 0) {
      at = star + 1;
      from = ++taken;
    } else return false;
  }
  while (glob[at] === '*') at++;
  return at === glob.length;
}
