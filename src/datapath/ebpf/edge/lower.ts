/** What the uplink's programs know of the plan: ranges, the node's own addresses, names of direct return. */
import { canonicalAddress, contains, formatCidr, parseAddress, parseCidr } from '../../../lib/ip.ts';
import type { PlanState, Settings } from '../../plan/tables.ts';
import { SETTINGS_KEY } from '../../plan/tables.ts';
import type { Programs } from '../loader.ts';
import type { Row } from '../map-table.ts';
import { addressBytes, rangeBytes, swapPort } from '../services/address-bytes.ts';
import { heard } from '../core/lower.ts';
import { dsrNames } from './dsr.ts';

export const EDGE_MAPS = ['edge_nets', 'edge_settings', 'dsr_addresses'] as const;
export type EdgeMap = (typeof EDGE_MAPS)[number];

/** As in bpf/include/nat-maps.h. */
const NET = { ownPod: 1, pod: 2, service: 4, underlay: 8, ownNode: 16, otherNode: 32 } as const;

/** Source ports of translated connections. The node's own sockets are kept out of them, see part.ts. */
export const NAT_PORTS = { first: 49_152, last: 65_535 } as const;

export interface EdgeLinks {
  /** Index of the link that has the node's addresses; 0: none. */
  readonly uplink: number;
  /** Of the tunnel by which packets leave for other nodes; 0: none. */
  readonly overlay: number;
}

interface Net {
  readonly cidr: string;
  readonly flags: number;
  readonly owner?: string | undefined;
}

const host = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;

export function netsOf(state: Pick<PlanState, 'routes' | 'settings'>): Net[] {
  const settings = state.settings.get(SETTINGS_KEY);
  if (!settings) return [];
  const { podCidrs, nodePodCidrs, serviceCidrs, underlayCidrs, nodeAddresses } = settings;
  const some = (cidrs: readonly string[], flags: number): Net[] => cidrs.map((cidr) => ({ cidr, flags }));
  const others = [...state.routes.values()].flatMap(({ addresses, podCidrs: ranges }): Net[] => {
    // The end of its tunnel, whose link address is known to whoever has sent something through it.
    const [owner] = addresses;
    return [
      ...ranges.map((cidr) => ({ cidr, flags: NET.pod, owner })),
      ...addresses.map((address) => ({ cidr: host(address), flags: NET.otherNode, owner })),
    ];
  });
  return inherited([
    ...some(podCidrs, NET.pod),
    ...some(nodePodCidrs, NET.ownPod | NET.pod),
    ...some(serviceCidrs, NET.service),
    ...some(underlayCidrs, NET.underlay),
    ...some(nodeAddresses.map(host), NET.ownNode),
    ...others,
  ]);
}

/** The longest prefix alone is found, so it says what all that hold it say. */
function inherited(nets: readonly Net[]): Net[] {
  const parsed = nets.map((net) => ({ ...net, range: parseCidr(net.cidr) }));
  const byText = new Map<string, Net>();
  for (const { range, owner } of parsed) {
    const first = parseAddress(canonicalAddress(formatCidr(range).split('/')[0] ?? ''));
    const holders = parsed.filter(
      (other) =>
        other.range.family === range.family &&
        other.range.length <= range.length &&
        contains(other.range, first),
    );
    const cidr = formatCidr(range);
    byText.set(cidr, {
      cidr,
      flags: holders.reduce((flags, holder) => flags | holder.flags, 0),
      owner: owner ?? byText.get(cidr)?.owner,
    });
  }
  return [...byText.values()];
}

export type EdgeRecords = ReturnType<typeof createEdgeRecords>;

/** A pod may have this part of the tables of translated connections. */
const SHARES = 8;

export function createEdgeRecords(programs: Pick<Programs, 'codec' | 'map'>) {
  // A connection is two entries.
  const share = Math.ceil(programs.map('nat4').maxEntries / 2 / SHARES);
  const netKey = programs.codec('struct net_key');
  const netValue = programs.codec('struct net_value');
  const settingsValue = programs.codec('struct edge_settings');
  const dsrValue = programs.codec('struct dsr_address');
  const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
  return {
    net: ({ cidr, flags, owner }: Net): Row => ({
      key: netKey.encode(rangeBytes(cidr)),
      value: netValue.encode({
        flags,
        owner: owner === undefined ? new Uint8Array(16) : addressBytes(owner),
      }),
    }),
    settings: (settings: Settings | undefined, { uplink, overlay }: EdgeLinks): Row => {
      const own = (isV6: boolean): Uint8Array => {
        const address = settings?.nodeAddresses.find((text) => text.includes(':') === isV6);
        return address === undefined ? new Uint8Array(16) : addressBytes(address);
      };
      const marks = heard(settings);
      return {
        key: word(0),
        value: settingsValue.encode({
          node4: own(false),
          node6: own(true),
          uplink,
          overlay,
          tunnel_port: swapPort(marks.tunnel_port),
          tunnel_port2: swapPort(marks.tunnel_port2),
          hears: marks.hears,
          first_port: NAT_PORTS.first,
          ports: NAT_PORTS.last - NAT_PORTS.first + 1,
          share,
        }),
      };
    },
    dsr: (number: number, address: string): Row => ({
      key: word(number),
      value: dsrValue.encode({ address: addressBytes(address) }),
    }),
  };
}

export function lowerEdge(
  state: Pick<PlanState, 'routes' | 'settings' | 'services'>,
  links: EdgeLinks,
  records: EdgeRecords,
): { readonly [M in EdgeMap]: Row[] } {
  return {
    edge_nets: netsOf(state).map(records.net),
    edge_settings: [records.settings(state.settings.get(SETTINGS_KEY), links)],
    dsr_addresses: [...dsrNames(state).byNumber].map(([number, address]) => records.dsr(number, address)),
  };
}
