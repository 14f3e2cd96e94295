/** Policies as Calico's NetworkPolicies (projectcalico.org/v3), in its tier default and where NetworkPolicies stand there. */
import type { CalicoEntityRule, CalicoNetworkPolicy, CalicoRule } from '../../api/calico-types.ts';
import type { LabelSelector } from '../../api/selector.ts';
import { formatCidr } from '../../lib/ip.ts';
import type { Direction } from '../decision.ts';
import type { PortMatch } from '../model.ts';
import type { Peer, PodPeer } from '../peers.ts';
import type { Stage } from '../stage.ts';
import { PRIORITIES } from '../tiers.ts';
import { type Grant, type Grants, outsideRange } from './grants.ts';
import type { Lose } from './loss.ts';
import { metadataOf, namespacesOf, written } from './written.ts';

export function toCalico(
  grants: Grants,
  name: string,
  inherited: Stage | undefined,
  lose: Lose,
): CalicoNetworkPolicy {
  const { policy, namespace, pods, rules } = grants;
  const list = (direction: Direction) =>
    rules[direction]?.flatMap((grant) => rulesOf(grant, namespace, direction, lose));
  const [ingress, egress] = [list('ingress'), list('egress')];
  return {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: metadataOf(policy, name, { namespace, inherited }),
    spec: {
      order: PRIORITIES.unordered,
      selector: expression(pods),
      types: [...(ingress ? ['Ingress'] : []), ...(egress ? ['Egress'] : [])],
      ...(ingress ? { ingress } : {}),
      ...(egress ? { egress } : {}),
    },
  };
}

/** A rule has one peer, and ports of one protocol. */
function rulesOf(grant: Grant, namespace: string, direction: Direction, lose: Lose): CalicoRule[] {
  const everybody = grant.peers?.some((peer) => peer.type === 'entity' && peer.entity === 'all') ?? true;
  const ends: CalicoEntityRule[] = everybody
    ? [{}]
    : (grant.peers ?? []).flatMap((peer) => endsOf(peer, namespace, grant.ref, lose));
  const ports = grant.ports === null ? [undefined] : [...byProtocol(grant.ports)];
  return ends.flatMap((end) =>
    ports.map((of): CalicoRule => {
      const named = of && of.ports.length > 0 ? { ports: of.ports } : {};
      const destination = direction === 'ingress' ? named : { ...end, ...named };
      const source = direction === 'ingress' ? end : {};
      return {
        action: 'Allow',
        ...(of ? { protocol: of.protocol } : {}),
        ...(Object.keys(source).length > 0 ? { source } : {}),
        ...(Object.keys(destination).length > 0 ? { destination } : {}),
      };
    }),
  );
}

function endsOf(peer: Peer, own: string, { direction, path }: Grant['ref'], lose: Lose): CalicoEntityRule[] {
  const inside = { directions: [direction], others: 'inside' } as const;
  if (peer.type === 'pods') return [podsOf(peer, own)];
  if (peer.type === 'entity' && peer.entity === 'world') {
    lose(path, 'the world is also pods and nodes: they have addresses', inside);
    return [{ nets: ['0.0.0.0/0'] }, { nets: ['::/0'] }];
  }
  if (peer.type === 'entity' && peer.entity === 'cluster') {
    lose(path, 'nodes of the cluster have no selector here', { directions: [direction], others: 'outside' });
    return [{ namespaceSelector: 'all()' }];
  }
  const range = outsideRange(peer) ?? (peer.type === 'block' ? peer : undefined);
  if (!range) {
    lose(path, `cannot say "${peer.text}": left out`, { directions: [direction], others: 'any' });
    return [];
  }
  if (range !== peer)
    lose(path, `${formatCidr(range.cidr)} is also pods and nodes with addresses in it`, inside);
  const except = range.except.map(formatCidr);
  return [{ nets: [formatCidr(range.cidr)], ...(except.length > 0 ? { notNets: except } : {}) }];
}

function podsOf(peer: PodPeer, own: string): CalicoEntityRule {
  const selector = expression(written(peer.pods.written ?? {}));
  if ('name' in peer.namespace && peer.namespace.name === own) return { selector };
  return {
    namespaceSelector: expression(namespacesOf(peer)),
    ...(selector === 'all()' ? {} : { selector }),
  };
}

function expression({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const parts = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key} == '${value}'`),
    ...matchExpressions.map(({ key, operator, values = [] }) => {
      const set = `{${[...values].map((value) => `'${value}'`).join(', ')}}`;
      if (operator === 'In') return `${key} in ${set}`;
      if (operator === 'NotIn') return `${key} not in ${set}`;
      return operator === 'Exists' ? `has(${key})` : `!has(${key})`;
    }),
  ];
  return parts.join(' && ') || 'all()';
}

interface OfProtocol {
  readonly protocol: string;
  /** None: every one. */
  readonly ports: (number | string)[];
}

function byProtocol(ports: readonly PortMatch[]): Iterable<OfProtocol> {
  const found = new Map<string, OfProtocol>();
  const whole = new Set<string>();
  for (const port of ports) {
    if (!('protocol' in port) || port.protocol === 'ICMP') continue;
    const { protocol } = port;
    const of = found.get(protocol) ?? { protocol, ports: [] };
    found.set(protocol, of);
    if ('name' in port) of.ports.push(port.name);
    else if (port.first <= 1 && port.last === 65535) whole.add(protocol);
    else of.ports.push(port.first === port.last ? port.first : `${port.first}:${port.last}`);
  }
  return [...found.values()].map((of) => (whole.has(of.protocol) ? { ...of, ports: [] } : of));
}
