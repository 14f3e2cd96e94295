/** Rules of the cluster-wide languages, which differ in words and in how much fits. */
import { formatCidr } from '../../lib/ip.ts';
import type { Direction } from '../decision.ts';
import type { PortMatch, RuleVerdict } from '../model.ts';
import type { Peer, PodPeer } from '../peers.ts';
import { outsideRange } from './grants.ts';
import type { Lose } from './loss.ts';
import { subtract } from './subtract.ts';
import { chunks, namespacesOf, written } from './written.ts';

export interface RuleParts {
  readonly direction: Direction;
  readonly path: string;
  readonly title?: string | undefined;
  readonly verdict: RuleVerdict;
  readonly peers: readonly Peer[] | null;
  readonly ports: readonly PortMatch[] | null;
}

export interface Dialect {
  /** Rules of a direction, peers and ports of a rule. */
  readonly most: number;
  readonly actions: Readonly<Record<RuleVerdict, string>>;
  readonly portsField: string;
  portOf(protocol: 'TCP' | 'UDP' | 'SCTP', first: number, last: number): object;
  named(name: string): object;
}

export const ADMIN: Dialect = {
  most: 100,
  actions: { allow: 'Allow', deny: 'Deny', pass: 'Pass' },
  portsField: 'ports',
  portOf: (protocol, first, last) =>
    first === last
      ? { portNumber: { protocol, port: first } }
      : { portRange: { protocol, start: first, end: last } },
  named: (name) => ({ namedPort: name }),
};

export const CLUSTER: Dialect = {
  most: 25,
  actions: { allow: 'Accept', deny: 'Deny', pass: 'Pass' },
  portsField: 'protocols',
  portOf: (protocol, first, last) => ({
    [protocol.toLowerCase()]: {
      destinationPort: first === last ? { number: first } : { range: { start: first, end: last } },
    },
  }),
  named: (name) => ({ destinationNamedPort: name }),
};

export const rulesIn = (dialect: Dialect, rules: readonly RuleParts[], lose: Lose): object[] =>
  rules.flatMap((rule) => ruleOf(dialect, rule, lose));

function ruleOf(dialect: Dialect, rule: RuleParts, lose: Lose): object[] {
  const { direction, verdict, title } = rule;
  const side = direction === 'ingress' ? 'from' : 'to';
  const head = { ...(title === undefined ? {} : { name: title }), action: dialect.actions[verdict] };
  const of = (peers: readonly object[], ports: readonly object[] | null): object[] =>
    [...chunks(peers, dialect.most)].flatMap((list) =>
      (ports ? [...chunks(ports, dialect.most)] : [undefined]).map((some) => ({
        ...head,
        [side]: list,
        ...(some ? { [dialect.portsField]: some } : {}),
      })),
    );
  const peers = peersOf(rule, lose);
  if (rule.ports === null) return of(peers, null);
  const { numbered, named } = portsOf(dialect, rule, rule.ports, lose);
  const said = numbered.length > 0 ? of(peers, numbered) : [];
  return named.length > 0 ? [...said, ...of(namedPeers(rule, peers, lose), named)] : said;
}

/** Names go with pods alone: nobody else has any, and a range of addresses that pods have too cannot be said so. */
function namedPeers(
  { direction, path, peers }: RuleParts,
  said: readonly object[],
  lose: Lose,
): readonly object[] {
  if (peers === null) return [EVERY_POD];
  const pods = said.filter((peer) => 'pods' in peer || 'namespaces' in peer);
  if (pods.length < said.length)
    lose(path, 'port names cannot be said of ranges and nodes: left out', {
      directions: [direction],
      others: 'inside',
    });
  return pods;
}

const EVERY_POD = { namespaces: {} };
const EVERY_ADDRESS = { networks: ['0.0.0.0/0', '::/0'] };

function peersOf(rule: RuleParts, lose: Lose): object[] {
  if (rule.peers === null) return everybody(rule, lose);
  return rule.peers.flatMap((peer) => peerOf(peer, rule, lose));
}

/** Nothing that comes from outside the cluster's pods can be named as a source. */
function everybody({ direction, path }: RuleParts, lose: Lose): object[] {
  if (direction === 'egress') return [EVERY_ADDRESS];
  lose(path, 'who is no pod cannot be named as a source: it is not denied', {
    directions: [direction],
    others: 'outside',
  });
  return [EVERY_POD];
}

function peerOf(peer: Peer, rule: RuleParts, lose: Lose): object[] {
  if (peer.type === 'pods') return [podsOf(peer)];
  const { direction, path } = rule;
  if (peer.type === 'entity' && peer.entity === 'all') return everybody(rule, lose);
  if (direction === 'egress') return destinationOf(peer, rule, lose);
  if (peer.type === 'entity' && peer.entity === 'cluster') {
    lose(path, 'nodes cannot be named as sources', { directions: [direction], others: 'outside' });
    return [EVERY_POD];
  }
  const isRange = peer.type === 'block';
  lose(path, `"${peer.text}" cannot be named as a source: left out`, {
    directions: [direction],
    others: isRange ? 'any' : 'outside',
  });
  return [];
}

function destinationOf(peer: Peer, { direction, path }: RuleParts, lose: Lose): object[] {
  const inside = { directions: [direction], others: 'inside' } as const;
  if (peer.type === 'nodes') return [{ nodes: written(peer.nodes.written ?? {}) }];
  if (peer.type === 'entity' && peer.entity === 'world') {
    lose(path, 'the world is also pods and nodes: they have addresses', inside);
    return [EVERY_ADDRESS];
  }
  if (peer.type === 'entity' && peer.entity === 'cluster') return [EVERY_POD, { nodes: {} }];
  if (peer.type === 'entity' && peer.entity === 'remote-node') return [{ nodes: {} }];
  const range = outsideRange(peer) ?? (peer.type === 'block' ? peer : undefined);
  const networks = range && subtract(range.cidr, range.except);
  if (!networks) {
    lose(path, `cannot say "${peer.text}": left out`, { directions: [direction], others: 'any' });
    return [];
  }
  if (range !== peer)
    lose(path, `${formatCidr(range.cidr)} is also pods and nodes with addresses in it`, inside);
  return networks.length > 0
    ? [...chunks(networks.map(formatCidr), 25)].map((list) => ({ networks: list }))
    : [];
}

function podsOf(peer: PodPeer): object {
  const pods = written(peer.pods.written ?? {});
  const namespaces = namespacesOf(peer);
  return Object.keys(pods).length === 0
    ? { namespaces }
    : { pods: { namespaceSelector: namespaces, podSelector: pods } };
}

const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;

/** A name is for ports of every protocol. */
function portsOf(
  dialect: Dialect,
  { direction, path }: RuleParts,
  ports: readonly PortMatch[],
  lose: Lose,
): { numbered: object[]; named: object[] } {
  const names = new Map<string, Set<string>>();
  const numbered: object[] = [];
  for (const port of ports)
    if ('name' in port) names.set(port.name, (names.get(port.name) ?? new Set()).add(port.protocol));
    else if ('first' in port)
      numbered.push(dialect.portOf(port.protocol, Math.max(1, port.first), port.last));
  for (const [name, protocols] of names)
    if (protocols.size < PROTOCOLS.length)
      lose(
        path,
        `the port name "${name}" is for every protocol, not for ${[...protocols].join(', ')} alone`,
        {
          directions: [direction],
          others: 'any',
        },
      );
  return { numbered, named: [...names.keys()].map(dialect.named) };
}
