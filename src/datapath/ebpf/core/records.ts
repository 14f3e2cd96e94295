/** Entries of the core's maps: what the plan says, as bytes by the programs' own types. */
import type { Value } from '../../../kernel/bpf/codec.ts';
import { countedAs } from '../../plan/pairs.ts';
import { portPrefixes, portsOf } from './prefixes.ts';
import type { PolicyTable } from '../../../policy/tables.ts';
import type { Verdict } from '../../../policy/decision.ts';
import type { Programs } from '../loader.ts';
import type { Row } from '../map-table.ts';
import { addressBytes, rangeBytes, swapPort } from '../services/address-bytes.ts';

type Record = Readonly<{ [field: string]: Value }>;
type Encode = (value: Record) => Uint8Array;

/** Maps of which there are two copies; rows are those of copy 0. */
export const COPIED = [
  'endpoints',
  'identity_hosts',
  'identity_ranges',
  'policy_entries',
  'policy_ranges',
] as const;
export type CopiedMap = (typeof COPIED)[number];

export interface CopiedRow extends Row {
  readonly map: CopiedMap;
}

const VERDICTS: Readonly<{ [V in Verdict]: number }> = {
  allow: 0,
  deny: 1,
  'audit-deny': 2,
  redirect: 3,
  'auth-required': 4,
};

const MAC_BYTES = 6;
const HOST_BITS = 128;
/** Bits of a key in front of what is compared bit by bit. */
const IDENTITY_BITS = 32;
const POLICY_BITS = 80;
/** So many are an entry each: found by one look-up, where a range takes three. */
const FEW_PORTS = 8;
/** All such ranges of a table together. Peers multiply them, and the map of single ports is for those that are. */
const MOST_APART = 64;

export const macBytes = (mac: string): Uint8Array =>
  mac === ''
    ? new Uint8Array(MAC_BYTES)
    : Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));

const numberBytes = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

export type SlotOf = (rule: number) => number;

export type CoreRecords = ReturnType<typeof createRecords>;

type Ports = readonly [number, number];

/** Which ports of a table are an entry each. */
function apart(entries: PolicyTable['entries']): (ports: Ports) => boolean {
  const count = ([first, last]: Ports) => last - first + 1;
  const isRange = (ports: Ports) => count(ports) > 1 && count(ports) <= FEW_PORTS;
  let ranged = 0;
  for (const { ports } of entries) if (ports && isRange(ports)) ranged += count(ports);
  return (ports) => count(ports) === 1 || (ranged <= MOST_APART && isRange(ports));
}

export function createRecords(programs: Pick<Programs, 'codec'>) {
  const encoder = (name: string): Encode => {
    const codec = programs.codec(`struct ${name}`);
    return (value) => codec.encode(value);
  };
  const [podKey, pod] = [encoder('pod_key'), encoder('pod')];
  const [rangeKey, podRange] = [encoder('range_key'), encoder('pod_range')];
  const [endpointKey, endpoint] = [encoder('endpoint_key'), encoder('endpoint')];
  const identityRangeKey = encoder('identity_range_key');
  const [policyKey, policyRangeKey] = [encoder('policy_key'), encoder('policy_range_key')];
  const policyEntry = encoder('policy_entry');
  const nodeState = encoder('node_state');

  const byAddress = (address: string): Uint8Array => podKey({ address: addressBytes(address) });

  return {
    addressKey: byAddress,
    pod: (address: string, place: { link: number; mac: string; hostMac: string; flags: number }): Row => ({
      key: byAddress(address),
      value: pod({
        link: place.link,
        mac: macBytes(place.mac),
        host_mac: macBytes(place.hostMac),
        flags: place.flags,
      }),
    }),
    link: (index: number, kind: number): Row => ({ key: numberBytes(index), value: numberBytes(kind) }),
    ownAddress: (address: string, kind: number): Row => ({
      key: byAddress(address),
      value: numberBytes(kind),
    }),
    podRange: (cidr: string, mac: string, kind: number): Row => ({
      key: rangeKey(rangeBytes(cidr)),
      value: podRange({ mac: macBytes(mac), kind }),
    }),
    nodeState: (value: {
      overlay_link: number;
      overlay_mtu: number;
      budget_interval: bigint;
      overlay_mac: Uint8Array;
      routed: number;
      tunnel_port: number;
      tunnel_port2: number;
      hears: number;
    }): Row => ({
      key: numberBytes(0),
      value: nodeState({
        ...value,
        tunnel_port: swapPort(value.tunnel_port),
        tunnel_port2: swapPort(value.tunnel_port2),
      }),
    }),
    slot: (rule: number, slot: number): Row => ({ key: numberBytes(rule), value: numberBytes(slot) }),

    endpoint: (address: string, tables: { ingress: number; egress: number }): CopiedRow => ({
      map: 'endpoints',
      key: endpointKey({ address: addressBytes(address) }),
      value: endpoint({ ingress: tables.ingress, egress: tables.egress }),
    }),
    identity(cidr: string, identity: number): CopiedRow {
      const { prefix, address } = rangeBytes(cidr);
      const value = numberBytes(identity);
      return prefix === HOST_BITS
        ? { map: 'identity_hosts', key: endpointKey({ address }), value }
        : {
            map: 'identity_ranges',
            key: identityRangeKey({
              prefix: prefix + IDENTITY_BITS,
              family: cidr.includes(':') ? 6 : 4,
              address,
            }),
            value,
          };
    },
    policy: (table: PolicyTable, slotOf: SlotOf): CopiedRow[] => policyRows(table, slotOf),
  };

  function policyRows({ number, defaultRule, entries }: PolicyTable, slotOf: SlotOf): CopiedRow[] {
    const value = (rule: number, verdict: Verdict) =>
      policyEntry({ rule, slot: slotOf(rule), verdict: VERDICTS[verdict] });
    const any = (identity: number, bytes: Uint8Array): CopiedRow => ({
      map: 'policy_entries',
      key: policyKey({ table: number, identity }),
      value: bytes,
    });
    const isApart = apart(entries);
    const rows = entries.flatMap((entry): CopiedRow[] => {
      const { identity, protocol, ports, verdict } = entry;
      const bytes = value(countedAs(entry), verdict);
      if (protocol === null || ports === null) return [any(identity, bytes)];
      if (isApart(ports))
        return portsOf(ports).map((port) => ({
          map: 'policy_entries',
          key: policyKey({ table: number, identity, protocol, port: swapPort(port) }),
          value: bytes,
        }));
      return portPrefixes(ports).map(({ first, length }) => ({
        map: 'policy_ranges',
        key: policyRangeKey({
          prefix: POLICY_BITS + length,
          table: number,
          identity,
          protocol,
          port: swapPort(first),
        }),
        value: bytes,
      }));
    });
    const hasAny = entries.some(({ identity, protocol }) => identity === 0 && protocol === null);
    return hasAny ? rows : [...rows, any(0, value(defaultRule, 'deny'))];
  }
}
