/** Policies as NetworkPolicies (networking.k8s.io/v1). */
import type { NetworkPolicy } from '../../api/types.ts';
import { formatCidr } from '../../lib/ip.ts';
import type { Direction } from '../decision.ts';
import type { PortMatch } from '../model.ts';
import type { Peer } from '../peers.ts';
import type { Stage } from '../stage.ts';
import { type Grant, type Grants, outsideRange } from './grants.ts';
import type { Lose } from './loss.ts';
import { metadataOf, namespacesOf, written } from './written.ts';

export function toNetworkPolicy(
  grants: Grants,
  name: string,
  inherited: Stage | undefined,
  lose: Lose,
): NetworkPolicy {
  const { policy, namespace, pods, rules } = grants;
  const list = (direction: Direction, field: 'from' | 'to') =>
    rules[direction] && {
      [direction]: rules[direction].flatMap((grant) => ruleOf(grant, namespace, field, lose)),
    };
  const types = [rules.ingress && ('Ingress' as const), rules.egress && ('Egress' as const)];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: metadataOf(policy, name, { namespace, inherited }),
    spec: {
      podSelector: written(pods) as never,
      policyTypes: types.filter((type) => type !== undefined),
      ...(list('ingress', 'from') as object),
      ...(list('egress', 'to') as object),
    },
  };
}

function ruleOf({ ref, peers, ports }: Grant, namespace: string, field: 'from' | 'to', lose: Lose): object[] {
  const everybody = peers?.some((peer) => peer.type === 'entity' && peer.entity === 'all') ?? true;
  const said = everybody ? [] : (peers ?? []).flatMap((peer) => peerOf(peer, namespace, ref, lose));
  // Without peers it would be for everybody.
  if (!everybody && said.length === 0) return [];
  return [
    {
      ...(everybody ? {} : { [field]: said }),
      ...(ports ? { ports: ports.flatMap(portOf) } : {}),
    },
  ];
}

function peerOf(peer: Peer, own: string, ref: Grant['ref'], lose: Lose): object[] {
  const { direction, path } = ref;
  const inside = { directions: [direction], others: 'inside' } as const;
  const range = outsideRange(peer);
  if (range) {
    lose(path, `${formatCidr(range.cidr)} is also pods and nodes with addresses in it`, inside);
    return [blockOf(range)];
  }
  if (peer.type === 'block') return [blockOf(peer)];
  if (peer.type === 'entity' && peer.entity === 'world') {
    lose(path, 'the world is also pods and nodes: they have addresses', inside);
    return [{ ipBlock: { cidr: '0.0.0.0/0' } }, { ipBlock: { cidr: '::/0' } }];
  }
  if (peer.type === 'entity' && peer.entity === 'cluster') {
    lose(path, 'nodes of the cluster have no selector', { directions: [direction], others: 'outside' });
    return [{ namespaceSelector: {} }];
  }
  if (peer.type !== 'pods') {
    lose(path, `cannot say "${peer.text}": left out`, { directions: [direction], others: 'any' });
    return [];
  }
  const pods = written(peer.pods.written ?? {});
  if ('name' in peer.namespace && peer.namespace.name === own) return [{ podSelector: pods }];
  const everyPod = Object.keys(pods).length === 0;
  return [{ namespaceSelector: namespacesOf(peer), ...(everyPod ? {} : { podSelector: pods }) }];
}

const blockOf = ({ cidr, except }: Extract<Peer, { type: 'block' }>): object => ({
  ipBlock: {
    cidr: formatCidr(cidr),
    ...(except.length > 0 ? { except: except.map(formatCidr) } : {}),
  },
});

function portOf(port: PortMatch): object[] {
  if ('name' in port) return [{ protocol: port.protocol, port: port.name }];
  if (!('first' in port)) return [];
  const { protocol, first, last } = port;
  if (first <= 1 && last === 65535) return [{ protocol }];
  return [{ protocol, port: first, ...(last > first ? { endPort: last } : {}) }];
}
