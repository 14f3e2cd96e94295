/** The parts of rules in words. */
import { formatCidr } from '../lib/ip.ts';
import type { Peer, PortMatch } from './model.ts';

/** `pods app=web in shop, or 10.0.0.0/8 except 10.1.0.0/16`; empty if nothing matches. */
export const peersText = (peers: readonly Peer[] | null): string =>
  peers === null ? 'every peer' : peers.map(peerText).join(', or ');

/** `TCP 80, TCP 8000-8100, UDP dns`; empty if nothing matches. */
export const portsText = (ports: readonly PortMatch[] | null): string =>
  ports === null ? 'every port' : ports.map(portText).join(', ');

function peerText(peer: Peer): string {
  if (peer.type === 'block') {
    const except = peer.except.length > 0 ? ` except ${peer.except.map(formatCidr).join(', ')}` : '';
    return `${formatCidr(peer.cidr)}${except}`;
  }
  if (peer.type === 'nodes') return peer.nodes.text === '*' ? 'every node' : `nodes ${peer.nodes.text}`;
  const pods = peer.pods.text === '*' ? 'every pod' : `pods ${peer.pods.text}`;
  if ('name' in peer.namespace) return `${pods} in ${peer.namespace.name}`;
  const { text } = peer.namespace.selector;
  return `${pods} in ${text === '*' ? 'every namespace' : `namespaces ${text}`}`;
}

function portText(match: PortMatch): string {
  if ('name' in match) return `${match.protocol} ${match.name}`;
  if (match.first === 0 && match.last === 65535) return match.protocol;
  return `${match.protocol} ${match.first === match.last ? match.first : `${match.first}-${match.last}`}`;
}
