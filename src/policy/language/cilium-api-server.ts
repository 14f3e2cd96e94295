/** Who the API server is: the addresses that the Service default/kubernetes stands for, on a node or outside. */
import { API_SERVER, parseLabelKey } from '../../api/cilium-words.ts';
import type { CiliumEgressRule, CiliumIngressRule } from '../../api/cilium-policy-types.ts';
import type { LabelSelector } from '../../api/selector.ts';
import { tryParseAddress } from '../../lib/ip.ts';
import { allOf, anyOf, entityPeer, type Peer, setPeer } from '../peers.ts';
import { isApiServer } from '../services.ts';
import type { Surroundings } from '../world.ts';
import type { Report } from './read.ts';

/** A pod is known by its labels, whatever its address is used for. */
const noPod: Peer = anyOf([entityPeer('world'), entityPeer('host'), entityPeer('remote-node')]);

/** Nobody, and a problem, while no address is known. */
export function readApiServer({ services = [] }: Surroundings, path: string, report: Report): Peer {
  const ranges = services
    .filter(isApiServer)
    .flatMap(({ addresses = [] }) => addresses.map(tryParseAddress))
    .filter((address) => address !== undefined)
    .map((address) => ({ ...address, length: address.family === 4 ? 32 : 128 }));
  if (ranges.length === 0)
    report(
      path,
      'no EndpointSlice of the Service default/kubernetes is known: the API server is nobody here',
      'absent',
    );
  return allOf([setPeer('API server', ranges), noPod]);
}

const isKey = (text: string): boolean => {
  const { source, key } = parseLabelKey(text);
  return source === 'reserved' && key === API_SERVER;
};

export const selectsByApiServer = ({ matchLabels, matchExpressions }: LabelSelector): boolean =>
  Object.keys(matchLabels ?? {}).some(isKey) || (matchExpressions ?? []).some(({ key }) => isKey(key));

/** Whether what a rule means depends on who the API server is. */
export const namesApiServerIn = (rule: CiliumIngressRule & CiliumEgressRule): boolean =>
  [...(rule.fromEntities ?? []), ...(rule.toEntities ?? [])].includes(API_SERVER) ||
  [...(rule.fromEndpoints ?? []), ...(rule.toEndpoints ?? [])].some(selectsByApiServer);
