/**
 * What Envoy does with an RBAC filter's JSON, from its API reference (config.rbac.v3, type.matcher.v3, route.v3
 * HeaderMatcher, uri_template), for tests: it knows nothing of how the JSON came about. What it does not know it refuses.
 */
import { contains, parseAddress, parseCidr } from '../../lib/ip.ts';

export interface EnvoyConnection {
  readonly directRemoteIp: string | undefined;
  readonly remoteIp: string | undefined;
  readonly destinationIp: string | undefined;
  readonly destinationPort: number;
  readonly requestedServerName: string;
  /** URI of the peer's certificate; undefined without mutual TLS. */
  readonly principal: string | undefined;
  /** By lower-case name, `:path` and the like too; empty for what is not HTTP. */
  readonly headers: ReadonlyMap<string, string>;
  /** By filter. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

type Node = Readonly<Record<string, unknown>>;

/** The policy that matches, by name, in the order of Envoy's map: by name. */
export function matchingPolicy(rbac: unknown, connection: EnvoyConnection): string | undefined {
  const policies = child(rbac as Node, 'policies');
  for (const name of Object.keys(policies).sort()) {
    const policy = child(policies, name);
    const some = (list: string) => items(policy, list).some((each) => holds(each, connection));
    if (some('permissions') && some('principals')) return name;
  }
  return undefined;
}

const child = (node: Node, key: string): Node => node[key] as Node;
const items = (node: Node, key: string): readonly Node[] => node[key] as readonly Node[];

/** A Permission or a Principal: a message of which one field is set. */
function holds(node: Node, connection: EnvoyConnection): boolean {
  const [[kind, value] = ['', undefined], ...more] = Object.entries(node);
  if (more.length > 0) throw new Error(`two fields of one: ${JSON.stringify(node)}`);
  const own = value as Node;
  switch (kind) {
    case 'any':
      return value === true;
    case 'and_rules':
      return items(own, 'rules').every((each) => holds(each, connection));
    case 'or_rules':
      return items(own, 'rules').some((each) => holds(each, connection));
    case 'and_ids':
      return items(own, 'ids').every((each) => holds(each, connection));
    case 'or_ids':
      return items(own, 'ids').some((each) => holds(each, connection));
    case 'not_rule':
    case 'not_id':
      return !holds(own, connection);
    default:
      return matches(kind, value, connection);
  }
}

function matches(kind: string, value: unknown, connection: EnvoyConnection): boolean {
  const own = value as Node;
  const { headers, principal } = connection;
  switch (kind) {
    case 'destination_port':
      return connection.destinationPort === value;
    case 'destination_ip':
      return isIn(own, connection.destinationIp);
    case 'direct_remote_ip':
      return isIn(own, connection.directRemoteIp);
    case 'remote_ip':
      return isIn(own, connection.remoteIp);
    case 'requested_server_name':
      return stringMatch(own, connection.requestedServerName);
    case 'authenticated':
      return principal !== undefined && stringMatch(child(own, 'principal_name'), principal);
    case 'header':
      return headerMatch(own, headers);
    case 'url_path': {
      const path = headers.get(':path');
      return path !== undefined && stringMatch(child(own, 'path'), path.replace(/[?#].*$/, ''));
    }
    case 'uri_template': {
      const path = headers.get(':path')?.replace(/[?#].*$/, '');
      return path !== undefined && uriTemplate(String(child(own, 'typed_config')['path_template']), path);
    }
    case 'metadata':
      return metadataMatch(own, connection.metadata);
    default:
      throw new Error(`Envoy has no ${kind} here`);
  }
}

function isIn({ address_prefix: prefix, prefix_len: length }: Node, address: string | undefined): boolean {
  return (
    address !== undefined && contains(parseCidr(`${String(prefix)}/${Number(length)}`), parseAddress(address))
  );
}

/** StringMatcher. An empty prefix or suffix is not allowed. */
function stringMatch({ ignore_case: ignoreCase, ...pattern }: Node, given: string): boolean {
  const [[kind, value] = ['', undefined]] = Object.entries(pattern);
  if (kind === 'safe_regex') return new RegExp(`^(?:${String((value as Node)['regex'])})$`).test(given);
  const [wanted, text] = [String(value), given].map((each) => (ignoreCase ? each.toLowerCase() : each)) as [
    string,
    string,
  ];
  if (kind === 'exact') return wanted === text;
  if (wanted === '') throw new Error(`an empty ${kind}`);
  if (kind === 'prefix') return text.startsWith(wanted);
  if (kind === 'suffix') return text.endsWith(wanted);
  throw new Error(`Envoy has no StringMatcher ${kind}`);
}

function headerMatch({ name, ...how }: Node, headers: ReadonlyMap<string, string>): boolean {
  const value = headers.get(String(name));
  if (how['present_match'] !== undefined) return (value !== undefined) === how['present_match'];
  return value !== undefined && stringMatch(child(how, 'string_match'), value);
}

/** `*`: characters but `/`, one at least. `**`: any characters. */
function uriTemplate(template: string, path: string): boolean {
  const parts = template.split(/(\*\*?)/).map((part) => {
    if (part === '*') return '[^/]+';
    return part === '**' ? '.*' : part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}$`).test(path);
}

function metadataMatch({ filter, path, value }: Node, metadata: Readonly<Record<string, unknown>>): boolean {
  let found: unknown = metadata[String(filter)];
  for (const { key } of path as readonly { readonly key: string }[])
    found =
      typeof found === 'object' && found !== null && !Array.isArray(found)
        ? (found as Record<string, unknown>)[key]
        : undefined;
  return valueMatch(value as Node, found);
}

function valueMatch(matcher: Node, value: unknown): boolean {
  const [[kind, own] = ['', undefined]] = Object.entries(matcher);
  if (kind === 'string_match') return typeof value === 'string' && stringMatch(own as Node, value);
  if (kind === 'or_match')
    return items(own as Node, 'value_matchers').some((each) => valueMatch(each, value));
  if (kind !== 'list_match') throw new Error(`Envoy has no ValueMatcher ${kind}`);
  const one = child(own as Node, 'one_of');
  return Array.isArray(value) && value.some((each) => valueMatch(one, each));
}
