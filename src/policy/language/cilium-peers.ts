/** Who a rule of Cilium's is about. */
import { API_SERVER, type Entity, isEntity, PEER_FIELDS, REFUSED_PEERS } from '../../api/cilium-words.ts';
import type {
  CiliumEgressRule,
  CiliumIngressRule,
  CiliumNameSelector,
} from '../../api/cilium-policy-types.ts';
import { parseCidr } from '../../lib/ip.ts';
import { allOf, entityPeer, namePeer, outsideBlock, type Peer } from '../peers.ts';
import { readApiServer } from './cilium-api-server.ts';
import { readName } from './cilium-names.ts';
import { readCidrRule, readOutside } from './cilium-ranges.ts';
import { readService } from './cilium-services.ts';
import { readEndpoints, readNodes } from './cilium-selectors.ts';
import type { Report } from './read.ts';
import type { Surroundings } from '../world.ts';

/** Where a rule is, and what it may refer to. */
export interface PeerContext {
  /** Empty of policies for all namespaces. */
  readonly namespace: string;
  readonly surroundings: Surroundings;
}

type AnyRule = CiliumIngressRule & CiliumEgressRule;

/** Undefined in a list: it cannot be read, and is reported. */
type Read = readonly (readonly Peer[] | undefined)[];

/**
 * Null if the rule names no peers; undefined if some cannot be read. A list that is there and empty is nobody, so is
 * every list of toFQDNs.
 */
export function readPeers(
  rule: AnyRule,
  side: 'from' | 'to',
  context: PeerContext,
  path: string,
  report: Report,
): Peer[] | null | undefined {
  const fields = [...PEER_FIELDS[side], `${side}Requires` as const];
  const given = fields.filter((field) => Array.isArray(rule[field]));
  const filled = given.filter((field) => rule[field]!.length > 0);
  const refused = filled.filter((field) => Object.hasOwn(REFUSED_PEERS, field));
  for (const field of refused) report(`${path}.${field}`, `is refused: ${REFUSED_PEERS[field]}`);
  const others = filled.filter((field) => !refused.includes(field));
  if (others.length > 1)
    report(path, `combines ${others.slice(0, 2).join(' and ')}: one kind of peers in a rule`);
  if (refused.length > 0 || others.length > 1) return undefined;
  // An empty list of requirements asks for nothing.
  if (given.every((field) => field === `${side}Requires`)) return null;
  if (given.length > others.length) return [];
  const read = readKind(rule, side, context, path, report);
  const known = read.filter((each) => each !== undefined);
  return known.length < read.length ? undefined : known.flat();
}

function readKind(
  rule: AnyRule,
  side: 'from' | 'to',
  { namespace, surroundings }: PeerContext,
  path: string,
  report: Report,
): Read {
  const { services = [], addressSets = [] } = surroundings;
  const list = <T>(
    field: string,
    items: readonly T[] | undefined,
    read: (item: T, at: string) => Read[number],
  ) => (items ?? []).map((item, i) => read(item, `${path}.${field}[${i}]`));
  const endpoints = `${side}Endpoints` as const;
  const nodes = `${side}Nodes` as const;
  const entities = `${side}Entities` as const;
  const cidr = `${side}CIDR` as const;
  const sets = `${side}CIDRSet` as const;
  return [
    ...list(endpoints, rule[endpoints], (item, at) =>
      readEndpoints(item, { namespace, surroundings }, at, report),
    ),
    ...list(nodes, rule[nodes], (item, at) => readNodes(item, at, report)),
    ...list(entities, rule[entities], (item, at) => readEntity(item, surroundings, at, report)),
    ...list(cidr, rule[cidr], (item, at) => readOutside(item, at, report)),
    ...list(sets, rule[sets], (item, at) => readCidrRule(item, addressSets, at, report)),
    ...list('toServices', rule.toServices, (item, at) => readService(item, services, at, report)),
    ...list('toFQDNs', rule.toFQDNs, (item, at) => readNames(item, at, report)),
  ];
}

const IPV4 = parseCidr('0.0.0.0/0');
const IPV6 = parseCidr('::/0');

/** Whoever of them can be here: nobody is on the way to be a pod, and there are no endpoints of an agent's own. */
const ENTITY_PEERS: Readonly<Record<Exclude<Entity, typeof API_SERVER>, readonly Peer[]>> = {
  all: [entityPeer('all')],
  world: [entityPeer('world')],
  'world-ipv4': [outsideBlock(IPV4, [])],
  'world-ipv6': [outsideBlock(IPV6, [])],
  cluster: [entityPeer('cluster')],
  host: [entityPeer('host')],
  'remote-node': [entityPeer('remote-node')],
  none: [],
  init: [],
  ingress: [],
  health: [],
  unmanaged: [],
};

function readEntity(
  name: string,
  surroundings: Surroundings,
  path: string,
  report: Report,
): readonly Peer[] | undefined {
  if (isEntity(name))
    return name === API_SERVER ? [readApiServer(surroundings, path, report)] : ENTITY_PEERS[name];
  report(path, `there is no entity "${name}"`);
  return undefined;
}

/** Addresses of the cluster are never meant, whatever their name. */
function readNames(selector: CiliumNameSelector, path: string, report: Report): Peer[] | undefined {
  const pattern = readName(selector, path, report);
  return pattern && [allOf([namePeer([pattern]), entityPeer('world')])];
}
