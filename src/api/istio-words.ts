/** Texts within objects of security.istio.io, read alike by validation and by the policy engine. */
import { type Cidr, bits, tryParseAddress, tryParseCidr } from '../lib/ip.ts';

/** Where mesh-wide objects are, and so from where pods of every namespace may be selected. */
export const ROOT_NAMESPACE = 'istio-system';

export const ACTIONS = ['ALLOW', 'AUDIT', 'CUSTOM', 'DENY'] as const;
export const MODES = ['DISABLE', 'PERMISSIVE', 'STRICT', 'UNSET'] as const;
/** On an AuthorizationPolicy, an annotation: its rules are counted and decide nothing. */
export const DRY_RUN = 'istio.io/dry-run';

/** A condition's key (Istio's "Authorization Policy Conditions"); `name` is what stands in its brackets. */
export type ConditionKey =
  | { readonly attribute: (typeof PLAIN_KEYS)[number] }
  | { readonly attribute: 'request.headers'; readonly name: string }
  /** `request.auth.claims[a][b]`: the claim b within the claim a. */
  | { readonly attribute: 'request.auth.claims'; readonly names: readonly string[] };

const PLAIN_KEYS = [
  'source.ip',
  'remote.ip',
  'source.namespace',
  'source.serviceAccount',
  'source.principal',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'destination.ip',
  'destination.port',
  'connection.sni',
] as const;

/** A text that says what is wrong with it, if it cannot be read. */
export function readConditionKey(key: string): ConditionKey | string {
  const plain = PLAIN_KEYS.find((known) => known === key);
  if (plain) return { attribute: plain };
  if (key.startsWith('request.headers')) {
    const name = /^request\.headers\[([^[\]]+)\]$/.exec(key)?.[1];
    return name === undefined
      ? 'expected the name of a header in brackets: request.headers[x-name]'
      : { attribute: 'request.headers', name: name.toLowerCase() };
  }
  if (key.startsWith('request.auth.claims')) {
    const brackets = /^request\.auth\.claims((\[[^[\]]+\])+)$/.exec(key)?.[1];
    return brackets === undefined
      ? 'expected the name of a claim in brackets: request.auth.claims[group]'
      : { attribute: 'request.auth.claims', names: brackets.slice(1, -1).split('][') };
  }
  if (key.startsWith('experimental.')) return 'experimental attributes are not enforced yet';
  return `is none of ${PLAIN_KEYS.join(', ')}, request.headers[…], request.auth.claims[…]`;
}

/** `203.0.113.4` or `203.0.113.0/24`, of either family. */
export function readIpBlock(text: string): Cidr | undefined {
  if (text.includes('/')) return tryParseCidr(text);
  const address = tryParseAddress(text);
  return address && { ...address, length: bits(address.family) };
}

/** 0 to 65535, as digits. */
export function readPortText(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  return port <= 65535 ? port : undefined;
}

/** `name`, or `namespace/name`. */
export function readServiceAccount(
  text: string,
  namespace: string,
): { readonly namespace: string; readonly name: string } | undefined {
  const [first = '', second, ...rest] = text.split('/');
  if (rest.length > 0 || first === '' || second === '' || text.includes('*')) return undefined;
  return second === undefined ? { namespace, name: first } : { namespace: first, name: second };
}

/** A brace of no operator too, which `readPathTemplate` refuses: it is nobody's literal path. */
export const isPathTemplate = (path: string): boolean => /[{}]/.test(path);

/** `{*}`: some characters but `/`. `{**}`: any characters, none too. A text is itself. */
export type TemplatePart = { readonly any: 'one' | 'many' } | { readonly text: string };

/** What a path costs grows with them; nobody writes as many. */
const MOST_OPERATORS = 32;

/** A text that says what is wrong with it, if it is none. */
export function readPathTemplate(path: string): readonly TemplatePart[] | string {
  if (!path.startsWith('/')) return 'a path template begins with /';
  const parts = path.split(/(\{\*\*?\})/).filter((part) => part !== '');
  const isOperator = (part: string | undefined) => part === '{*}' || part === '{**}';
  if (parts.some((part) => !isOperator(part) && /[*{}]/.test(part)))
    return 'a path template has no * and no { } but in {*} and {**}';
  const many = parts.indexOf('{**}');
  if (many >= 0 && parts.slice(many + 1).some(isOperator)) return '{**} must be the last operator of a path';
  if (parts.some((part, i) => isOperator(part) && isOperator(parts[i + 1])))
    return 'two operators need something between them';
  if (parts.filter(isOperator).length > MOST_OPERATORS)
    return `a path template has at most ${MOST_OPERATORS} operators`;
  return parts.map((part) => {
    if (part === '{*}') return { any: 'one' };
    return part === '{**}' ? { any: 'many' } : { text: part };
  });
}
