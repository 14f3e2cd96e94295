/** Who is at an end of a flow: found once for a pod, a node, or addresses that nothing tells apart. */
import { type Family, formatAddress, groups6, parseAddress } from '../../lib/ip.ts';
import { addressesOf, canonical, type End, nodeAddresses, type Places, whoIs } from '../scene.ts';
import type { Flow, FlowEnd } from '../world.ts';
import type { EndClass, EndClasses } from './end-classes.ts';
import type { RoleIndex } from './role-index.ts';
import { readIpv4 } from './read-ipv4.ts';

export interface Party {
  /** Of addresses outside one for all that nothing tells apart. */
  readonly end: End;
  readonly class: EndClass;
  /** No pod, and an address that every node answers itself. */
  readonly isNodeLocal: boolean;
  /** What is known of it as long as the policies stay; undefined before it is asked for. */
  roles: PartyRoles | undefined;
}

export interface PartyRoles {
  /** Of which policies. */
  readonly version: number;
  readonly ingress: RoleIndex | undefined;
  readonly egress: RoleIndex | undefined;
}

export interface Parties {
  /** Undefined where flows are refused. */
  familyOf(flow: Flow): Family | undefined;
  /** Undefined for what is not known, or no address. */
  of(end: FlowEnd, family: Family): Party | undefined;
}

interface PodParties {
  readonly hasAddress: boolean;
  readonly hasFour: boolean;
  readonly four: Party;
  readonly six: Party;
}

export function createParties(scene: Places, classes: EndClasses): Parties {
  const byPod = new Map<string, PodParties>();
  /** Addresses of somebody, or with a name; who it is once it is asked for. */
  const byAddress = new Map<string, Party | null>(addressesIn(scene).map((text) => [text, null]));
  const outside = new Map<EndClass, Party>();
  const summaries = new Set([...byAddress.keys()].flatMap((text) => summaryOf(groups6(text)) ?? []));

  const partyOf = (end: End): Party => ({
    end,
    class: classes.of(end),
    isNodeLocal: end.type !== 'pod' && end.address !== undefined && scene.isNodeLocal(end.address),
    roles: undefined,
  });

  function ofPod(key: string): PodParties | undefined {
    const known = byPod.get(key);
    if (known) return known;
    const pod = scene.pod(key);
    if (!pod) return undefined;
    const addresses = addressesOf(scene, pod);
    const inFamily = (family: Family): Party => {
      const address = addresses.find((each) => each.family === family);
      return partyOf(
        pod.hostNetwork === true ? { type: 'node', node: pod.node, address } : { type: 'pod', pod, address },
      );
    };
    const made = {
      hasAddress: addresses.length > 0,
      hasFour: addresses.some(({ family }) => family === 4),
      four: inFamily(4),
      six: inFamily(6),
    };
    byPod.set(key, made);
    return made;
  }

  function ofSomebody(text: string): Party {
    const made = partyOf(whoIs(scene, parseAddress(text)));
    byAddress.set(text, made);
    return made;
  }

  function ofOutside(held: EndClass, end: () => End): Party {
    const known = outside.get(held);
    if (known) return known;
    const made = { end: end(), class: held, isNodeLocal: false, roles: undefined };
    outside.set(held, made);
    return made;
  }

  function ofAddress(text: string): Party {
    const known = byAddress.get(text);
    if (known) return known;
    if (known === null) return ofSomebody(text);
    const value = readIpv4(text);
    if (value !== undefined)
      return ofOutside(classes.outside4(value), () => ({ type: 'outside', address: parseAddress(text) }));
    const groups = groups6(text);
    if (!groups) return refuse(text);
    if (summaries.has(summaryOf(groups)!)) {
      // It may be written in another way.
      const written = formatAddress(parseAddress(text));
      if (byAddress.has(written)) return ofAddress(written);
    }
    return ofOutside(classes.outside6(groups), () => ({ type: 'outside', address: parseAddress(text) }));
  }

  /** What this pod says of the family where no address does: IPv6 if it has only that. */
  const isOnlySix = (end: FlowEnd): boolean => {
    const pod = 'pod' in end ? ofPod(end.pod) : undefined;
    return pod !== undefined && pod.hasAddress && !pod.hasFour;
  };

  return {
    familyOf({ src, dst, family }) {
      const own = familyIn(src);
      const other = familyIn(dst);
      const said = family ?? own ?? other;
      if (said === undefined) return isOnlySix(src) || isOnlySix(dst) ? 6 : 4;
      return (own ?? said) === said && (other ?? said) === said ? said : undefined;
    },
    of(end, family) {
      if ('address' in end) return ofAddress(end.address);
      const pod = ofPod(end.pod);
      return family === 4 ? pod?.four : pod?.six;
    },
  };
}

/** @throws HeddleError `BadAddress` */
function refuse(text: string): never {
  parseAddress(text);
  throw new Error('an address can be read and cannot');
}

/** The same of equal addresses, seldom of others. */
const summaryOf = (groups: readonly number[] | undefined): number | undefined =>
  groups?.reduce((all, group) => (Math.imul(all, 65_599) + group) | 0, 0);

const familyIn = (end: FlowEnd): Family | undefined =>
  'address' in end ? (end.address.includes(':') ? 6 : 4) : undefined;

const addressesIn = ({ pods, nodes, nodeLocal, world }: Places): string[] => [
  ...pods.flatMap(({ addresses }) => addresses.map(canonical)),
  ...nodes.flatMap((node) => nodeAddresses(node).map(canonical)),
  ...(world.names ?? []).flatMap(({ addresses }) => addresses.map(canonical)),
  ...nodeLocal,
];
