/** Who is at an end of a flow: found once for a pod, a node, or addresses that nothing tells apart. */
import { type Family, formatAddress, groups6, parseAddress } from '../../lib/ip.ts';
import { addressesOf, canonical, type End, nodeAddresses, type Places, whoIs } from '../scene.ts';
import type { Flow, FlowEnd, WorldPod } from '../world.ts';
import type { EndClass, EndClasses } from './end-classes.ts';
import type { RoleIndex } from './role-index.ts';
import { readIpv4 } from './read-ipv4.ts';

export interface Party {
  /** Of addresses outside one for all that nothing tells apart. */
  readonly end: End;
  /** That of `end`, if it is one. */
  readonly pod: WorldPod | undefined;
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
  /** Undefined where flows are refused: for what is not known or no address, and where families differ. */
  of(flow: Flow): Parted | undefined;
}

export interface Parted {
  readonly src: Party;
  readonly dst: Party;
  readonly family: Family;
}

/** Who is meant by an end, in either family. */
interface Meant {
  /** Of an address. */
  readonly family: Family | undefined;
  readonly hasOnlySix: boolean;
  readonly four: Party;
  readonly six: Party;
}

export function createParties(scene: Places, classes: EndClasses): Parties {
  const byPod = new Map<string, Meant>();
  /** Addresses of somebody, or with a name; who it is once it is asked for. IPv4 by number. */
  const known4 = new Map<number, Meant | null>();
  const known6 = new Map<string, Meant | null>();
  for (const text of addressesIn(scene)) {
    const value = readIpv4(text);
    if (value === undefined) known6.set(text, null);
    else known4.set(value | 0, null);
  }
  const outside = Array.from<Meant | undefined>({ length: classes.places });
  const summaries = new Set([...known6.keys()].flatMap((text) => summaryOf(groups6(text)) ?? []));

  const partyOf = (end: End): Party => ({
    end,
    pod: end.type === 'pod' ? end.pod : undefined,
    class: classes.of(end),
    isNodeLocal: end.type !== 'pod' && end.address !== undefined && scene.isNodeLocal(end.address),
    roles: undefined,
  });
  const meantBy = (party: Party, family: Family): Meant => ({
    family,
    hasOnlySix: false,
    four: party,
    six: party,
  });

  function ofPod(key: string): Meant | undefined {
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
    const made: Meant = {
      family: undefined,
      hasOnlySix: addresses.length > 0 && addresses.every(({ family }) => family === 6),
      four: inFamily(4),
      six: inFamily(6),
    };
    byPod.set(key, made);
    return made;
  }

  const ofSomebody = (text: string, family: Family): Meant =>
    meantBy(partyOf(whoIs(scene, parseAddress(text))), family);

  function ofOutside(place: number, text: string): Meant {
    const known = outside[place];
    if (known) return known;
    const address = parseAddress(text);
    const end: End = { type: 'outside', address };
    const party = {
      end,
      pod: undefined,
      class: classes.at(place, end),
      isNodeLocal: false,
      roles: undefined,
    };
    const made = meantBy(party, address.family);
    outside[place] = made;
    return made;
  }

  function ofAddress(text: string): Meant | undefined {
    const value = readIpv4(text);
    if (value === undefined) return ofSix(text);
    const known = known4.get(value | 0);
    if (known) return known;
    if (known === undefined) return ofOutside(classes.place4(value), text);
    const made = ofSomebody(text, 4);
    known4.set(value | 0, made);
    return made;
  }

  function ofSix(text: string): Meant | undefined {
    const known = known6.get(text);
    if (known) return known;
    const groups = groups6(text);
    if (!groups) return undefined;
    // It may be written in another way.
    const written = summaries.has(summaryOf(groups)!) ? formatAddress(parseAddress(text)) : undefined;
    const same = written === undefined ? undefined : known6.get(written);
    if (same === undefined) return ofOutside(classes.place6(groups), text);
    const made = same ?? ofSomebody(text, 6);
    known6.set(written!, made);
    return made;
  }

  const meant = (end: FlowEnd): Meant | undefined =>
    'address' in end ? ofAddress(end.address) : ofPod(end.pod);

  return {
    of(flow) {
      const src = meant(flow.src);
      const dst = meant(flow.dst);
      if (!src || !dst) return undefined;
      // Where no address says it: IPv6 if a pod has only that.
      const family = flow.family ?? src.family ?? dst.family ?? (src.hasOnlySix || dst.hasOnlySix ? 6 : 4);
      if ((src.family ?? family) !== family || (dst.family ?? family) !== family) return undefined;
      return family === 4 ? { src: src.four, dst: dst.four, family } : { src: src.six, dst: dst.six, family };
    },
  };
}

/** The same of equal addresses, seldom of others. */
const summaryOf = (groups: readonly number[] | undefined): number | undefined =>
  groups?.reduce((all, group) => (Math.imul(all, 65_599) + group) | 0, 0);

const addressesIn = ({ pods, nodes, nodeLocal, world }: Places): string[] => [
  ...pods.flatMap(({ addresses }) => addresses.map(canonical)),
  ...nodes.flatMap((node) => nodeAddresses(node).map(canonical)),
  ...(world.names ?? []).flatMap(({ addresses }) => addresses.map(canonical)),
  ...nodeLocal,
];
