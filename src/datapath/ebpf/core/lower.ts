/** What the plan says of places (pods, nodes, ranges) as entries of the maps that know no copies. */
import type { PlanState, RemoteNode, Settings } from '../../plan/tables.ts';
import { SETTINGS_KEY } from '../../plan/tables.ts';
import { vtepMac } from '../../vtep.ts';
import type { Row } from '../map-table.ts';
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
  readonly overlay: KnownLink | undefined;
  /** Entries of the flow cache that one pod may fill in BUDGET_SECONDS; 0: as many as there are. */
  readonly flowBudget: number;
}

const LINK = { pod: 1, uplink: 2, overlay: 3 } as const;
const OWN = { node: 1, local: 2 } as const;
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
      ...(around.overlay ? [records.link(around.overlay.index, LINK.overlay)] : []),
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

const nodeState = (
  settings: Settings | undefined,
  { overlay, flowBudget }: Surroundings,
  records: CoreRecords,
): Row =>
  records.nodeState({
    overlay_link: overlay?.index ?? 0,
    overlay_mtu: overlay?.mtu ?? 0,
    overlay_mac: macBytes(overlay?.mac ?? ''),
    tunnel_port: settings?.tunnelPort ?? 0,
    budget_interval: flowBudget === 0 ? 0n : BigInt(Math.ceil((BUDGET_SECONDS * 1e9) / flowBudget)),
  });
