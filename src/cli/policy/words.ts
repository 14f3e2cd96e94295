/** Words of question files: who, and which ports. */
import { tryParseAddress, tryParseCidr } from '../../lib/ip.ts';
import { isObject } from '../../lib/json.ts';
import type { CallPort } from '../../policy/analyse/generate.ts';
import { LAST_PORT } from '../../policy/analyse/port-set.ts';
import type { Who } from '../../policy/analyse/who.ts';
import { parseSelector } from '../../policy/selector.ts';
import type { PortProtocol } from '../../policy/world.ts';
import { onlyKeys, type Part, refused, textOf } from './question-file.ts';

/**
 * `anybody`, `outside`, `NAMESPACE`, `NAMESPACE/NAME`, `NAMESPACE/KIND/NAME`, an address or range, a list of them, or
 * an object: `{namespace}`, `{namespace?, pods: SELECTOR}`, `{workload}`, `{cidr}`, `{not: WHO}`.
 * @throws HeddleError `BadManifest`
 */
export function whoOf(part: Part): Who {
  const { value } = part;
  const items = part.items();
  if (items) return { type: 'any-of', list: items.map(whoOf) };
  if (typeof value === 'string') return whoOfText(value, part);
  if (!isObject(value))
    throw refused(part, 'expected who: a namespace, NAMESPACE/NAME, a range, anybody or outside');
  onlyKeys(part, ['namespace', 'pods', 'workload', 'cidr', 'not']);
  const not = part.get('not');
  if (not) {
    onlyKeys(part, ['not']);
    return { type: 'not', who: whoOf(not) };
  }
  if (part.get('workload')) return whoOfText(textOf(part, 'workload'), part);
  if (part.get('cidr')) return whoOfText(textOf(part, 'cidr'), part);
  const namespace = part.get('namespace') ? textOf(part, 'namespace') : undefined;
  const pods = part.get('pods');
  if (pods) return { type: 'pods', namespace, selector: selectorOf(pods) };
  if (namespace !== undefined) return { type: 'namespace', name: namespace };
  throw refused(part, 'expected namespace, pods, workload, cidr or not');
}

function selectorOf(part: Part) {
  if (!isObject(part.value)) throw refused(part, 'pods: expected matchLabels or matchExpressions');
  onlyKeys(part, ['matchLabels', 'matchExpressions']);
  const labels = part.value['matchLabels'];
  if (
    labels !== undefined &&
    !(isObject(labels) && Object.values(labels).every((each) => typeof each === 'string'))
  )
    throw refused(part, 'matchLabels: expected labels with texts as values');
  const expressions = part.value['matchExpressions'];
  if (expressions !== undefined && !(Array.isArray(expressions) && expressions.every(isObject)))
    throw refused(part, 'matchExpressions: expected a list');
  const parsed = parseSelector(part.value);
  if (!parsed.ok) throw refused(part, `${parsed.path} ${parsed.message}`);
  return part.value;
}

export function whoOfText(text: string, part: Pick<Part, 'file' | 'line'>): Who {
  if (text === 'anybody') return { type: 'anybody' };
  if (text === 'outside') return { type: 'outside' };
  const address = tryParseAddress(text);
  if (address) return { type: 'range', cidr: `${text}/${address.family === 4 ? 32 : 128}` };
  if (tryParseCidr(text)) return { type: 'range', cidr: text };
  const parts = text.split('/');
  if (parts.length > 3 || !parts.every((each) => /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/i.test(each)))
    throw refused(part, `"${text}" is no namespace, NAMESPACE/NAME, address range, "anybody" or "outside"`);
  const [namespace = '', second = '', third] = parts;
  if (parts.length === 1) return { type: 'namespace', name: namespace };
  if (third === undefined) return { type: 'workload', namespace, name: second };
  return { type: 'workload', namespace, kind: second, name: third };
}

const PORT = /^(?:(tcp|udp|sctp)[/ ])?(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/i;

/** `443`, `8000-8100`, `53/udp`, `UDP 53`, `SCTP`; undefined for what is none of these. */
export function portOfText(text: string): CallPort | undefined {
  if (/^(tcp|udp|sctp)$/i.test(text))
    return { protocol: text.toUpperCase() as PortProtocol, first: 1, last: LAST_PORT };
  const match = PORT.exec(text);
  if (!match || (match[1] !== undefined && match[4] !== undefined)) return undefined;
  const first = Number(match[2]);
  const last = Number(match[3] ?? match[2]);
  if (first < 1 || last > LAST_PORT || last < first) return undefined;
  return { protocol: (match[1] ?? match[4] ?? 'TCP').toUpperCase() as PortProtocol, first, last };
}

/** One port or a list; null for `all`. @throws HeddleError `BadManifest` */
export function portsOf(part: Part, named: (name: string) => CallPort[] = () => []): CallPort[] | null {
  if (part.value === 'all') return null;
  return (part.items() ?? [part]).flatMap((item) => {
    const text = String(item.value);
    const port = typeof item.value === 'object' ? undefined : portOfText(text);
    if (port) return [port];
    const byName = typeof item.value === 'string' ? named(text) : [];
    if (byName.length > 0) return byName;
    throw refused(item, `"${text}" is no port; expected 443, 8000-8100, 53/udp, udp or all`);
  });
}
