/** Conditions as Envoy's matchers (envoy.config.rbac.v3, envoy.type.matcher.v3), in their JSON. */
import { type Cidr, formatAddress, firstOf } from '../../lib/ip.ts';
import type { Condition, PathPattern, RequestPrincipal, TextPattern } from './model.ts';
import { patternText } from './words.ts';

export type Json = { readonly [key: string]: unknown };

/** One of what a Permission or a Principal may be. */
export type Matcher = Json;

/** Where Envoy looks for it: in `permissions` what is asked for, in `principals` who asks. */
export const isPermission = ({ attribute }: Condition): boolean =>
  ['destination-port', 'destination-ip', 'sni', 'method', 'host', 'path'].includes(attribute);

/** The words of the two for the same thing. */
export interface Dialect {
  all(list: readonly Matcher[]): Matcher;
  some(list: readonly Matcher[]): Matcher;
  not(matcher: Matcher): Matcher;
}

export const PERMISSIONS: Dialect = {
  all: (rules) => ({ and_rules: { rules } }),
  some: (rules) => ({ or_rules: { rules } }),
  not: (rule) => ({ not_rule: rule }),
};

export const PRINCIPALS: Dialect = {
  all: (ids) => ({ and_ids: { ids } }),
  some: (ids) => ({ or_ids: { ids } }),
  not: (id) => ({ not_id: id }),
};

/** All of these together are the condition. */
export function matchersOf(condition: Condition, dialect: Dialect): Matcher[] {
  const { values, notValues } = valuesOf(condition);
  return [
    ...(values.length > 0 ? [dialect.some(values)] : []),
    ...(notValues.length > 0 ? [dialect.not(dialect.some(notValues))] : []),
  ];
}

function valuesOf(condition: Condition): { values: Matcher[]; notValues: Matcher[] } {
  const each = <V>(
    { values, notValues }: { readonly values: readonly V[]; readonly notValues: readonly V[] },
    matcher: (value: V) => Matcher,
  ) => ({ values: values.map(matcher), notValues: notValues.map(matcher) });
  switch (condition.attribute) {
    case 'principal':
      return each(condition, (p) => authenticated(identityText(p)));
    case 'namespace':
      return each(condition, (p) => identity(namePart(p), '[^/]+'));
    case 'account':
      return each(condition, ({ namespace, name }) => identity(quoted(namespace), quoted(name)));
    case 'source-ip':
      return each(condition, (cidr) => ({ direct_remote_ip: range(cidr) }));
    case 'remote-ip':
      return each(condition, (cidr) => ({ remote_ip: range(cidr) }));
    case 'destination-ip':
      return each(condition, (cidr) => ({ destination_ip: range(cidr) }));
    case 'destination-port':
      return each(condition, (port) => ({ destination_port: port }));
    case 'sni':
      return each(condition, (p) => ({ requested_server_name: text(p) }));
    case 'method':
      return each(condition, (p) => header(':method', p));
    case 'host':
      return each(condition, (p) => header(':authority', p, true));
    case 'header':
      return each(condition, (p) => header(condition.name, p));
    case 'path':
      return each(condition, path);
    case 'claim':
      return each(condition, (p) => claim(condition.names, listOrText(p)));
    default:
      return each(condition, token);
  }
}

const text = (pattern: TextPattern): Json =>
  pattern.how === 'present' ? { safe_regex: { regex: '.+' } } : { [pattern.how]: pattern.value };

/** RE2 syntax: what is no letter or digit is quoted. */
const quoted = (literal: string): string => literal.replaceAll(/[^A-Za-z0-9_]/g, (c) => `\\${c}`);

const authenticated = (principal_name: Json): Matcher => ({ authenticated: { principal_name } });

/** Certificates have a URI, policies what is behind its scheme. */
function identityText(pattern: TextPattern): Json {
  const scheme = 'spiffe://';
  if (pattern.how === 'present') return { safe_regex: { regex: `${scheme}.+` } };
  if (pattern.how === 'suffix') return { safe_regex: { regex: `${scheme}.*${quoted(pattern.value)}` } };
  return { [pattern.how]: scheme + pattern.value };
}

function namePart(pattern: TextPattern): string {
  if (pattern.how === 'present') return '[^/]+';
  const literal = quoted(pattern.value);
  if (pattern.how === 'exact') return literal;
  return pattern.how === 'prefix' ? `${literal}[^/]*` : `[^/]*${literal}`;
}

const identity = (namespace: string, account: string): Matcher =>
  authenticated({ safe_regex: { regex: `spiffe://[^/]+/ns/${namespace}/sa/${account}` } });

const range = (cidr: Cidr): Json => ({
  address_prefix: formatAddress(firstOf(cidr)),
  prefix_len: cidr.length,
});

function header(name: string, pattern: TextPattern, ignoreCase = false): Matcher {
  if (pattern.how === 'present') return { header: { name, present_match: true } };
  return {
    header: { name, string_match: { ...text(pattern), ...(ignoreCase ? { ignore_case: true } : {}) } },
  };
}

function path(pattern: PathPattern): Matcher {
  if (pattern.how !== 'template') return { url_path: { path: text(pattern) } };
  const path_template = patternText(pattern).replaceAll('{*}', '*').replaceAll('{**}', '**');
  const type = 'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig';
  return {
    uri_template: {
      name: 'uri-template',
      typed_config: { '@type': `type.googleapis.com/${type}`, path_template },
    },
  };
}

/** Where Envoy's JWT filter leaves the claims of a token that it has verified. */
const claim = (names: readonly string[], value: Json): Matcher => ({
  metadata: {
    filter: 'envoy.filters.http.jwt_authn',
    path: ['payload', ...names].map((key) => ({ key })),
    value,
  },
});

const listOrText = (pattern: TextPattern): Json => {
  const string_match = text(pattern);
  return { or_match: { value_matchers: [{ string_match }, { list_match: { one_of: { string_match } } }] } };
};

const token = ({ issuer, subject }: RequestPrincipal): Matcher =>
  PRINCIPALS.all([
    claim(['iss'], { string_match: text(issuer) }),
    claim(['sub'], { string_match: text(subject) }),
  ]);
