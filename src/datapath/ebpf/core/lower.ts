/** What the plan says of places (pods, nodes, ranges) as entries of the maps that know no copies. */
import { probeAddress } from '../../path/address.ts';
import type { PlanState, RemoteNode, Settings } from '../../plan/tables.ts';
import { SETTINGS_KEY } from '../../plan/tables.ts';
import { vtepMac } from '../../vtep.ts';
import { acceptsNative, tunnelMarks } from '../../routing.ts';
import type { Row } from '../map-table.ts';
import type { TunnelNow } from './links.ts';
import { macBytes, type CoreRecords } from './records.ts';

export const PLACES = [
  'own_addresses',
  'node_addresses',
  'pod_ranges',
  'node_state',
  'links',
  'pods',
] as const;
export type PlaceMap = (typeof PLACES)[number];

/** Links as the kernel has them now. */
export interface KnownLink {
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
}

export interface Surroundings {
  link(name: string): KnownLink | undefined;
  /** Those that have the node's addresses. */
  readonly uplinks: readonly number[];
  readonly tunnels: readonly TunnelNow[];
  /** `isAddressed`: the frame's address says to which node. */
  readonly sending: { readonly link: KnownLink; readonly isAddressed: boolean } | undefined;
  /** Entries of the flow cache that one pod may fill in BUDGET_SECONDS; 0: as many as there are. */
  readonly flowBudget: number;
}

const LINK = { pod: 1, uplink: 2, overlay: 3, tunnel: 4 } as const;
/** As in bpf/include/packet.h. */
const HEARS = { gre: 1, native: 2 } as const;
const OWN = { node: 1, local: 2, probed: 3 } as const;
const RANGE = { remote: 1, here: 2 } as const;
const NODE = { address: 1, tunnelEnd: 2 } as const;
const POD_QUEUED = 1;
/** BUDGET_WINDOW of flow-maps.h. */
const BUDGET_SECONDS = 30;

export function lowerPlaces(
  state: Pick<PlanState, 'pods' | 'routes' | 'settings'>,
  around: Surroundings,
  records: CoreRecords,
): { readonly [M in PlaceMap]: Row[] } {
  const settings = state.settings.get(SETTINGS_KEY);
  const { nodeAddresses = [], nodeLocal = [], nodePodCidrs = [] } = settings ?? {};
  const nodes = [...state.routes.values()];
  // A pod whose link is not there (yet) is known, and reached by nobody.
  const pods = [...state.pods.values()].map((pod) => ({ pod, link: around.link(pod.interface) }));
  return {
    own_addresses: [
      ...nodeAddresses.map((address) => records.ownAddress(address, OWN.node)),
      ...nodeLocal
        .filter((address) => !nodeAddresses.includes(address))
        .map((address) => records.ownAddress(address, OWN.local)),
      ...nodePodCidrs.map((cidr) => records.ownAddress(probeAddress(cidr), OWN.probed)),
    ],
    node_addresses: [
      ...nodeAddresses.map((address) => records.ownAddress(address, NODE.address)),
      ...nodes.flatMap(({ addresses }) =>
        addresses.map((address, i) => records.ownAddress(address, i === 0 ? NODE.tunnelEnd : NODE.address)),
      ),
    ],
    pod_ranges: [
      ...nodePodCidrs.map((cidr) => records.podRange(cidr, '', RANGE.here)),
      ...nodes.flatMap((node) => remoteRanges(node, records)),
    ],
    node_state: [nodeState(settings, around, records)],
    links: [
      ...around.uplinks.map((index) => records.link(index, LINK.uplink)),
      ...around.tunnels.map(({ index, isFramed }) =>
        records.link(index, isFramed ? LINK.overlay : LINK.tunnel),
      ),
      ...pods.flatMap(({ link }) => (link ? [records.link(link.index, LINK.pod)] : [])),
    ],
    pods: pods.flatMap(({ pod, link }) =>
      pod.addresses.map((address) =>
        records.pod(address, {
          link: link?.index ?? 0,
          mac: pod.mac ?? '',
          hostMac: link?.mac ?? '',
          flags: pod.bandwidth?.ingress === undefined ? 0 : POD_QUEUED,
        }),
      ),
    ),
  };
}

function remoteRanges({ addresses: [end], podCidrs }: RemoteNode, records: CoreRecords): Row[] {
  return end === undefined ? [] : podCidrs.map((cidr) => records.podRange(cidr, vtepMac(end), RANGE.remote));
}

function nodeState(
  settings: Settings | undefined,
  { sending, flowBudget }: Surroundings,
  records: CoreRecords,
): Row {
  const isAddressed = sending?.isAddressed === true;
  return records.nodeState({
    overlay_link: sending?.link.index ?? 0,
    overlay_mtu: sending?.link.mtu ?? 0,
    overlay_mac: macBytes(isAddressed ? sending.link.mac : ''),
    routed: isAddressed ? 0 : 1,
    ...heard(settings),
    budget_interval: flowBudget === 0 ? 0n : BigInt(Math.ceil((BUDGET_SECONDS * 1e9) / flowBudget)),
  });
}

/** What is for ends of tunnels alone, and whether packets of other nodes' pods come without one. Ports as numbers. */
export function heard(settings: Settings | undefined): {
  readonly tunnel_port: number;
  readonly tunnel_port2: number;
  readonly hears: number;
} {
  const { udpPorts, gre } = settings ? tunnelMarks(settings) : { udpPorts: [], gre: false };
  const [first = 0, second = 0] = udpPorts;
  return {
    tunnel_port: first,
    tunnel_port2: second,
    hears: (gre ? HEARS.gre : 0) | (acceptsNative(settings) ? HEARS.native : 0),
  };
}
