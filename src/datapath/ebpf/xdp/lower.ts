/** What protects the uplink, as entries of the program's maps. */
import { parseCidr, toBytes } from '../../../lib/ip.ts';
import type { PlanState, Protection, Rate } from '../../plan/tables.ts';
import { SETTINGS_KEY } from '../../plan/tables.ts';
import type { Programs } from '../loader.ts';
import type { Row } from '../map-table.ts';
import { addressBytes } from '../services/address-bytes.ts';

export const PROTECTION_MAPS = ['denied4', 'denied6', 'spared_addresses', 'protection'] as const;
export type ProtectionMap = (typeof PROTECTION_MAPS)[number];
export type ProtectionRows = { readonly [M in ProtectionMap]: Row[] };

/** As in bpf/include/protection-maps.h. */
const PROTECT = { deny4: 1, deny6: 2, limits: 4 } as const;
const SECOND = 1_000_000_000;

export type ProtectionRecords = ReturnType<typeof createProtectionRecords>;

export function createProtectionRecords(programs: Pick<Programs, 'codec'>) {
  const key4 = programs.codec('struct denied4_key');
  const key6 = programs.codec('struct denied6_key');
  const denial = programs.codec('struct denial').encode({ denied: 1 });
  const sparedKey = programs.codec('struct spared_key');
  const settings = programs.codec('struct protection');
  const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
  return {
    denied(cidr: string): Row {
      const { family, value, length } = parseCidr(cidr);
      const key = family === 4 ? key4 : key6;
      return { key: key.encode({ prefix: length, address: toBytes({ family, value }) }), value: denial };
    },
    spared: (address: string): Row => ({
      key: sparedKey.encode({ address: addressBytes(address) }),
      value: word(1),
    }),
    settings: (protection: Protection | undefined, flags: number): Row => ({
      key: word(0),
      value: settings.encode({
        flags,
        packets: rateOf(protection?.packets),
        connections: rateOf(protection?.connections),
        all_connections: rateOf(protection?.allConnections),
      }),
    }),
  };
}

function rateOf(rate: Rate | undefined): { cost: bigint; burst: bigint } {
  if (!rate) return { cost: 0n, burst: 0n };
  const cost = BigInt(Math.round(SECOND / rate.perSecond));
  return { cost, burst: cost * BigInt(rate.burst) };
}

export function lowerProtection(
  state: Pick<PlanState, 'protection' | 'settings'>,
  records: ProtectionRecords,
): ProtectionRows {
  const protection = state.protection.get(SETTINGS_KEY);
  const denied = protection?.denied ?? [];
  const denied4 = denied.filter((cidr) => !cidr.includes(':'));
  const denied6 = denied.filter((cidr) => cidr.includes(':'));
  const limited = protection?.packets ?? protection?.connections ?? protection?.allConnections;
  const flags =
    (denied4.length > 0 ? PROTECT.deny4 : 0) |
    (denied6.length > 0 ? PROTECT.deny6 : 0) |
    (limited ? PROTECT.limits : 0);
  return {
    denied4: denied4.map(records.denied),
    denied6: denied6.map(records.denied),
    spared_addresses: (state.settings.get(SETTINGS_KEY)?.controlAddresses ?? []).map(records.spared),
    protection: [records.settings(protection, flags)],
  };
}
