/**
 * What policies say about addresses outside of the cluster: for each range that an egress rule names, and each
 * exception from it, one address is tried from every pod for which a rule decides it. Mostly nobody answers
 * there; that a connection was let out, or not, is the kernel's record.
 */
import {
  type Address,
  type Cidr,
  contains,
  type Family,
  formatAddress,
  nth,
  parseAddress,
} from '../lib/ip.ts';
import type { Decision } from '../policy/decision.ts';
import type { PortMatch } from '../policy/model.ts';
import { lowerPolicies } from '../policy/objects.ts';
import { leavesOf } from '../policy/peers.ts';
import { type Flow, podKey, type World } from '../policy/world.ts';
import type { Attempt, DemoPod, Workload } from './attempts.ts';

/** Hosts that answer outside of a local cluster: taken where a range holds them. */
const ANSWERING = ['203.0.113.1', '2001:db8::1'].map(parseAddress);
/** For rules without a port that could be tried. */
const ANY_PORT = 443;

export const OUTSIDE: Workload = { key: 'outside', namespace: '', pods: [] };

interface Place {
  readonly address: Address;
  readonly port: number;
}

function representative(cidr: Cidr): Address | undefined {
  return ANSWERING.find((address) => contains(cidr, address)) ?? nth(cidr, 1n) ?? nth(cidr, 0n);
}

type PolicyWorld = Pick<World, 'policies' | 'surroundings'>;

/** One place in every range, and in every exception, of egress rules of any language; none inside of `cluster`. */
function places({ policies, surroundings }: PolicyWorld, cluster: readonly Cidr[]): Place[] {
  const rules = policies.flatMap((policy) =>
    lowerPolicies(policy, undefined, surroundings).flatMap((lowered) => lowered.rules),
  );
  const found = rules
    .filter(({ ref }) => ref.direction === 'egress')
    .flatMap(({ peers, ports }) => {
      const port = (ports ?? []).map(portToTry).find((each) => each !== undefined) ?? ANY_PORT;
      const blocks = (peers ?? [])
        .flatMap(leavesOf)
        .flatMap((peer) =>
          peer.type === 'block' ? [peer.cidr, ...(peer.others ?? []), ...peer.except] : [],
        );
      return blocks.flatMap((cidr) => {
        const address = representative(cidr);
        return address && !cluster.some((range) => contains(range, address)) ? [{ address, port }] : [];
      });
    });
  return [
    ...new Map(found.map((place) => [`${formatAddress(place.address)} ${place.port}`, place])).values(),
  ];
}

/** Where a match is for all ports of TCP, any will do. */
const portToTry = (match: PortMatch): number | undefined =>
  'first' in match && match.protocol === 'TCP' && match.first > 0 ? match.first : undefined;

export function outsideAttempts(
  workloads: readonly Workload[],
  world: PolicyWorld,
  cluster: readonly Cidr[],
  decide: (flow: Flow) => Decision,
): Attempt[] {
  const tried = places(world, cluster);
  const attempt = (from: Workload, source: DemoPod, { address, port }: Place): Attempt => {
    const host = formatAddress(address);
    const { family } = address;
    return {
      from,
      to: OUTSIDE,
      source,
      host,
      label: host,
      family,
      port,
      protocol: 'TCP',
      backends: [],
      outside: true,
    };
  };
  /** Where no rule decides there is no record to judge by. */
  const isJudged = ({ source, host, port }: Attempt): boolean =>
    decide({ src: { pod: podKey(source) }, dst: { address: host }, protocol: 'TCP', port }).egress
      .ruleNumber !== 0;
  return workloads.flatMap((from) =>
    tried.flatMap((place) =>
      from.pods
        .filter((pod) => hasFamily(pod, place.address.family))
        .map((pod) => attempt(from, pod, place))
        .filter(isJudged),
    ),
  );
}

/** A pod of the other family alone has no way there that a policy could close. */
const hasFamily = ({ addresses }: DemoPod, family: Family): boolean =>
  addresses.some((text) => parseAddress(text).family === family);
