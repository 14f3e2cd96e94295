/** Policies as CiliumNetworkPolicies (cilium.io/v2). */
import type { CiliumNetworkPolicy } from '../../api/cilium-policy-types.ts';
import { NAMESPACE_KEY, NAMESPACE_LABELS_PREFIX } from '../../api/cilium-words.ts';
import type { LabelSelector } from '../../api/selector.ts';
import { formatCidr } from '../../lib/ip.ts';
import type { Direction } from '../decision.ts';
import type { PortMatch } from '../model.ts';
import type { Peer, PodPeer } from '../peers.ts';
import type { Stage } from '../stage.ts';
import { type Grant, type Grants, outsideRange } from './grants.ts';
import type { Lose } from './loss.ts';
import { chunks, metadataOf, written } from './written.ts';

/** Ports in one entry of toPorts. */
const MOST_PORTS = 40;

export function toCilium(
  grants: Grants,
  name: string,
  inherited: Stage | undefined,
  lose: Lose,
): CiliumNetworkPolicy {
  const { policy, namespace, pods, rules } = grants;
  const section = (direction: Direction) => {
    const list = rules[direction];
    if (!list) return {};
    const said = list.flatMap((grant) => rulesOf(grant, namespace, direction, lose));
    // A rule for nobody closes the pods all the same.
    return { [direction]: said.length > 0 ? said : [{}] };
  };
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: metadataOf(policy, name, { namespace, inherited }),
    spec: { endpointSelector: written(pods), ...section('ingress'), ...section('egress') },
  } as CiliumNetworkPolicy;
}

/** A rule has one kind of peers. */
function rulesOf(grant: Grant, namespace: string, direction: Direction, lose: Lose): object[] {
  const { ref, peers } = grant;
  const side = direction === 'ingress' ? 'from' : 'to';
  const ports = grant.ports && {
    toPorts: [...chunks(grant.ports.flatMap(portOf), MOST_PORTS)].map((list) => ({ ports: list })),
  };
  const rule = (kind: 'Endpoints' | 'CIDRSet' | 'Entities', list: readonly unknown[]): object[] =>
    list.length > 0 ? [{ [`${side}${kind}`]: list, ...ports }] : [];
  if (peers === null) return rule('Entities', ['all']);
  const all = isEverywhere(peers);
  const ranges = all ? [] : peers.flatMap((peer) => rangeOf(peer, ref, lose));
  return [
    ...rule(
      'Endpoints',
      peers.flatMap((peer) => (peer.type === 'pods' ? [endpointsOf(peer, namespace)] : [])),
    ),
    ...rule('CIDRSet', ranges),
    ...rule('Entities', [
      ...(all ? ['all'] : []),
      ...peers.flatMap((peer) => (peer.type === 'entity' ? [peer.entity] : [])),
    ]),
  ];
}

/** Ranges of both families are everybody, pods and nodes too. */
function isEverywhere(peers: readonly Peer[]): boolean {
  const isWhole = (family: 4 | 6) =>
    peers.some(
      (peer) =>
        peer.type === 'block' &&
        peer.cidr.family === family &&
        peer.cidr.length === 0 &&
        peer.except.length === 0,
    );
  return isWhole(4) && isWhole(6);
}

function rangeOf(peer: Peer, { direction, path }: Grant['ref'], lose: Lose): object[] {
  const range = outsideRange(peer) ?? (peer.type === 'block' ? peer : undefined);
  if (!range) return [];
  if (range === peer)
    lose(path, `${formatCidr(range.cidr)} is no pods and nodes with addresses in it`, {
      directions: [direction],
      others: 'inside',
    });
  const except = range.except.map(formatCidr);
  return [{ cidr: formatCidr(range.cidr), ...(except.length > 0 ? { except } : {}) }];
}

/** In the policy's own namespace unless another is named. */
function endpointsOf({ namespace, pods }: PodPeer, own: string): LabelSelector {
  const labels = written(pods.written ?? {});
  if ('name' in namespace) {
    if (namespace.name === own) return labels;
    return { ...labels, matchLabels: { ...labels.matchLabels, [`k8s:${NAMESPACE_KEY}`]: namespace.name } };
  }
  const of = written(namespace.selector.written ?? {}, (key) => `k8s:${NAMESPACE_LABELS_PREFIX}${key}`);
  const matchLabels = { ...labels.matchLabels, ...of.matchLabels };
  const matchExpressions = [...(labels.matchExpressions ?? []), ...(of.matchExpressions ?? [])];
  const isOfPods =
    Object.keys(matchLabels).length > 0 ||
    matchExpressions.some(({ operator }) => operator === 'In' || operator === 'Exists');
  // Without a word of namespaces it is the policy's own; and what must not be there is not there of nodes either.
  if (!isOfPods || Object.keys(of).length === 0)
    matchExpressions.push({ key: `k8s:${NAMESPACE_KEY}`, operator: 'Exists' });
  return {
    ...(Object.keys(matchLabels).length > 0 ? { matchLabels } : {}),
    ...(matchExpressions.length > 0 ? { matchExpressions } : {}),
  };
}

function portOf(port: PortMatch): object[] {
  if ('name' in port) return [{ port: port.name, protocol: port.protocol }];
  if (!('first' in port)) return [];
  const { protocol, first, last } = port;
  if (first <= 1 && last === 65535) return [{ port: '0', protocol }];
  return [{ port: `${first}`, ...(last > first ? { endPort: last } : {}), protocol }];
}
