/** The parts of rules in words. */
import { formatCidr } from '../lib/ip.ts';
import type { IcmpMatch, PortMatch } from './model.ts';
import {
  accountsText,
  type BlockPeer,
  type EntityPeer,
  type NodePeer,
  type Peer,
  type PodPeer,
} from './peers.ts';
import type { HeaderMatch, RequestMatch, TextMatch } from './request.ts';

/** `pods app=web in shop, or 10.0.0.0/8 except 10.1.0.0/16`; empty if nothing matches. */
export const peersText = (peers: readonly Peer[] | null): string =>
  peers === null ? 'every peer' : peers.map(peerText).join(', or ');

/** `TCP 80, TCP 8000-8100, UDP dns`; empty if nothing matches. */
export const portsText = (ports: readonly PortMatch[] | null): string =>
  ports === null ? 'every port' : ports.map(portText).join(', ');

function peerText(peer: Peer): string {
  switch (peer.type) {
    case 'all-of':
      return allOfText(peer.peers);
    case 'any-of':
      return peer.peers.map(peerText).join(', or ') || 'nothing';
    case 'not':
      return `not ${nestedText(peer.peer)}`;
    case 'entity':
      return ENTITY_WORDS[peer.entity];
    case 'names':
      return `names ${peer.patterns.map(({ text }) => text).join(', ')}`;
    default:
      return leafText(peer);
  }
}

/** `10.0.0.0/8 outside the cluster` */
function allOfText(peers: readonly Peer[]): string {
  const others = peers.filter((peer) => peer.type !== 'entity' || peer.entity !== 'world');
  const text = others.map(nestedText).join(' and ');
  if (others.length === peers.length) return text || 'everything';
  return text === '' ? ENTITY_WORDS.world : `${text} outside the cluster`;
}

const nestedText = (peer: Peer): string =>
  (peer.type === 'all-of' || peer.type === 'any-of') && peer.peers.length > 1
    ? `(${peerText(peer)})`
    : peerText(peer);

const ENTITY_WORDS: Readonly<Record<EntityPeer['entity'], string>> = {
  world: 'everything outside the cluster',
  cluster: 'every pod and node',
  host: "the pod's own node",
  'remote-node': 'every other node',
  all: 'everything',
};

function leafText(peer: PodPeer | BlockPeer | NodePeer): string {
  if (peer.type === 'block') {
    const except = peer.except.length > 0 ? ` except ${peer.except.map(formatCidr).join(', ')}` : '';
    const more = peer.others
      ? ` and ${peer.others.length} more ranges of ${peer.text.split(' ').slice(1, -1).join(' ')}`
      : '';
    return `${formatCidr(peer.cidr)}${more}${except}`;
  }
  if (peer.type === 'nodes') return peer.nodes.text === '*' ? 'every node' : `nodes ${peer.nodes.text}`;
  const as = peer.accounts ? ` as ${accountsText(peer.accounts)}` : '';
  const pods = `${peer.pods.text === '*' ? 'every pod' : `pods ${peer.pods.text}`}${as}`;
  if ('name' in peer.namespace) return `${pods} in ${peer.namespace.name}`;
  const { text } = peer.namespace.selector;
  return `${pods} in ${text === '*' ? 'every namespace' : `namespaces ${text}`}`;
}

function portText(match: PortMatch): string {
  if ('protocolNumber' in match) return `protocol ${match.protocolNumber}`;
  if (match.protocol === 'ICMP') return icmpText(match);
  if ('name' in match) return `${match.protocol} ${match.name}`;
  if (match.first === 0 && match.last === 65535) return match.protocol;
  return `${match.protocol} ${match.first === match.last ? match.first : `${match.first}-${match.last}`}`;
}

/** `ICMP`, `ICMPv6 type 128 code 0` */
function icmpText({ family, type, code }: IcmpMatch): string {
  const name = family === undefined ? 'ICMP' : family === 4 ? 'ICMPv4' : 'ICMPv6';
  return `${name}${type === undefined ? '' : ` type ${type}`}${code === undefined ? '' : ` code ${code}`}`;
}

/** `GET =/pay, or names =api.example.com`; what a rule says of requests. */
export const requestsText = (l7: readonly RequestMatch[]): string => l7.map(requestText).join(', or ');

function requestText(match: RequestMatch): string {
  switch (match.type) {
    case 'http':
      return words('HTTP', [match.method, match.path, match.target, match.host], match.headers);
    case 'grpc':
      return words('gRPC', [match.service, match.method, match.host], match.headers);
    case 'dns':
      return `names ${match.names.map(({ text }) => text).join(', ')}`;
    default: {
      const { apiKeys, apiVersion, topic, clientId } = match;
      const parts = [apiKeys?.join('|'), apiVersion, topic, clientId].filter((part) => part !== undefined);
      return `Kafka ${parts.join(' ')}`.trim();
    }
  }
}

function words(
  protocol: string,
  matches: readonly (TextMatch | undefined)[],
  headers: readonly HeaderMatch[] = [],
): string {
  const parts = matches.flatMap((match) => (match ? [match.text] : []));
  return [protocol, ...parts, ...headers.map(({ name, value }) => `${name}: ${value.text}`)].join(' ');
}
