/** Port names, which mean what the destination pod says they mean. A pod may use a name for several ports. */
import type { PortRange, Rule } from './model.ts';
import { isLeaf } from './peers.ts';
import type { WorldPod } from './world.ts';

/** `TCP/http` → its ports, ascending. A name that means nothing is absent. */
export type NamedPorts = ReadonlyMap<string, readonly PortRange[]>;

export const nameKey = (protocol: string, name: string): string => `${protocol}/${name}`;

/** @param names keys as of `nameKey` */
export function resolveNames(names: Iterable<string>, pod: WorldPod): NamedPorts {
  const named = new Map<string, PortRange[]>();
  for (const name of [...new Set(names)].sort()) {
    const ports = pod.ports.filter((p) => p.name !== undefined && nameKey(p.protocol, p.name) === name);
    const numbers = [...new Set(ports.map((p) => p.port))].sort((a, b) => a - b);
    if (numbers.length > 0)
      named.set(
        name,
        numbers.map((port) => ({ protocol: ports[0]!.protocol, first: port, last: port })),
      );
  }
  return named;
}

/** `TCP/http=8080+8081 UDP/dns=53` */
export function namedPortsText(named: NamedPorts): string {
  if (named.size === 0) return '';
  const text =
    texts.get(named) ??
    [...named].map(([name, ports]) => `${name}=${ports.map((p) => p.first).join('+')}`).join(' ');
  texts.set(named, text);
  return text;
}

const texts = new WeakMap<NamedPorts, string>();

/** The names of a rule's ports. */
export const namesIn = (rule: Rule): string[] =>
  (rule.ports ?? []).flatMap((port) => ('name' in port ? [nameKey(port.protocol, port.name)] : []));

/**
 * What the names of egress rules mean at a destination pod, as far as rules for that destination use them.
 * The second argument: texts of the peer terms that hold for the pod.
 */
export function egressNames(rules: readonly Rule[]): (terms: readonly string[], pod: WorldPod) => NamedPorts {
  const { always, byTerm } = collect(rules);
  if (always.size === 0 && byTerm.size === 0) return noNames;
  return (terms, pod) =>
    resolveNames([...always, ...terms.flatMap((term) => [...(byTerm.get(term) ?? [])])], pod);
}

/** Of egress rules: their port names, and at which pods they may mean something: all, or those for which a term holds. */
export function namingOf(rules: readonly Rule[]): {
  readonly names: ReadonlySet<string>;
  readonly always: boolean;
  readonly terms: readonly string[];
} {
  const { always, byTerm } = collect(rules);
  return { names: new Set(rules.flatMap(namesIn)), always: always.size > 0, terms: [...byTerm.keys()] };
}

/** @param names keys as of `nameKey` */
export const hasName = ({ ports }: WorldPod, names: ReadonlySet<string>): boolean =>
  ports.some(({ name, protocol }) => name !== undefined && names.has(nameKey(protocol, name)));

const none: NamedPorts = new Map();

/** No egress rule uses a port's name. */
export const noNames = (): NamedPorts => none;

interface Wanted {
  /** Names in rules for every peer. */
  readonly always: ReadonlySet<string>;
  readonly byTerm: ReadonlyMap<string, ReadonlySet<string>>;
}

function collect(rules: readonly Rule[]): Wanted {
  const always = new Set<string>();
  const byTerm = new Map<string, Set<string>>();
  for (const rule of rules) {
    if (rule.ref.direction !== 'egress') continue;
    const names = namesIn(rule);
    if (rule.peers === null) for (const name of names) always.add(name);
    // Which leaves make an expression hold is not looked at: whoever it may be is told apart.
    else if (!rule.peers.every((peer) => isLeaf(peer) && peer.type !== 'entity'))
      for (const name of names) always.add(name);
    else if (names.length > 0)
      for (const { text } of rule.peers) byTerm.set(text, new Set([...(byTerm.get(text) ?? []), ...names]));
  }
  return { always, byTerm };
}
