/**
 * Plan entries → objects of the table. Entries fall into groups that are lowered alone: an entry by itself,
 * but for address ranges, which are flattened together per family.
 */
import { type Family, tryParseAddress, tryParseCidr, bits, formatAddress } from '../../lib/ip.ts';
import {
  type Change,
  type PlanState,
  type PlanTables,
  type RemoteNode,
  SETTINGS_KEY,
  TABLE_NAMES,
} from '../plan/tables.ts';
import type { TableUse } from './base.ts';
import { flatten, rangeText } from './flatten.ts';
import { lowerPolicy, lowerRule } from './lower-policy.ts';
import { lowerFrontend, type SlotsOf } from './lower-services.ts';
import { lowerSettings } from './lower-settings.ts';
import { mark, policyChain } from './names.ts';
import { element, type KernelObject } from './objects.ts';

/** `services 10.96.0.1|TCP|80`, `nets 4` */
export type Group = string;

export interface Lowering extends TableUse {
  /** Of another node's first address, by which its pods' packets come where there is no tunnel. */
  readonly macOf: (address: string) => string | undefined;
  readonly slotsOf: SlotsOf;
}

const isHost = (cidr: string): boolean => {
  const parsed = tryParseCidr(cidr);
  return parsed !== undefined && parsed.length === bits(parsed.family);
};

const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4);

/** The group that a changed entry belongs to. */
export function groupOf(change: Pick<Change, 'table' | 'key'>): Group {
  if (change.table === 'identities' && !isHost(change.key)) return `nets ${familyOf(change.key)}`;
  return `${change.table} ${change.key}`;
}

export function groupsOf(state: PlanState): Group[] {
  const keys = TABLE_NAMES.flatMap((table) => [...state[table].keys()].map((key) => groupOf({ table, key })));
  return [...new Set(keys)];
}

export function lowerGroup(state: PlanState, group: Group, lowering: Lowering): KernelObject[] {
  const space = group.indexOf(' ');
  const [table, key] = [group.slice(0, space), group.slice(space + 1)];
  if (table === 'nets') return lowerNets(state.identities, key === '4' ? 4 : 6);
  const lower = lowerings[table as keyof typeof lowerings];
  return lower(state, key, lowering);
}

/** Undefined in, nothing out. */
const each =
  <T extends keyof PlanTables>(
    table: T,
    lower: (value: Readonly<PlanTables[T]>, key: string) => KernelObject[],
  ) =>
  (state: PlanState, key: string): KernelObject[] => {
    const value = (state[table] as ReadonlyMap<string, Readonly<PlanTables[T]>>).get(key);
    return value === undefined ? [] : lower(value, key);
  };

const lowerings = {
  settings: (state: PlanState, _key: string, use: Lowering): KernelObject[] =>
    lowerSettings(state.settings.get(SETTINGS_KEY), use),
  rules: each('rules', lowerRule),
  policies: each('policies', lowerPolicy),
  identities: each('identities', (identity, cidr) => [
    element(`hosts${familyOf(cidr)}`, cidr.slice(0, cidr.indexOf('/')), mark(identity)),
  ]),
  endpoints: each('endpoints', (tables, address) =>
    (['egress', 'ingress'] as const)
      .filter((direction) => tables[direction] !== 0)
      .map((direction) =>
        element(`${direction}${familyOf(address)}`, address, `jump ${policyChain(tables[direction])}`),
      ),
  ),
  pods: each('pods', (pod) => [
    element('interfaces', `"${pod.interface}"`),
    ...(pod.mac === undefined
      ? []
      : [
          element('known-senders', `"${pod.interface}"`),
          element('senders', `"${pod.interface}" . ${pod.mac}`),
        ]),
    ...pod.addresses.flatMap((address) => [
      element(`self${familyOf(address)}`, `${address} . ${address}`),
      element(`origins${familyOf(address)}`, `"${pod.interface}" . ${address}`),
    ]),
  ]),
  routes: (state: PlanState, key: string, { macOf }: Lowering): KernelObject[] => {
    const node = state.routes.get(key);
    return node === undefined ? [] : lowerNode(node, macOf(node.addresses[0] ?? ''));
  },
  protection: each('protection', ({ denied }) =>
    flatten(denied.map((cidr) => [cidr, true] as const)).map((range) =>
      element(`denied${range.family}`, rangeText(range)),
    ),
  ),
  services: (state: PlanState, key: string, { services, slotsOf }: Lowering): KernelObject[] => {
    const frontend = state.services.get(key);
    return frontend === undefined || !services ? [] : lowerFrontend(frontend, slotsOf);
  },
};

/** The route itself is overlay.ts'. */
function lowerNode({ addresses, podCidrs }: Readonly<RemoteNode>, mac: string | undefined): KernelObject[] {
  const ranges = flatten(podCidrs.map((cidr) => [cidr, true] as const));
  return [
    // The tunnel's far end.
    ...addresses.slice(0, 1).map((end) => element(`tunnels${familyOf(end)}`, end)),
    ...addresses.map((address) => element(`heard${familyOf(address)}`, address)),
    ...ranges.flatMap((range) => [
      element(`remote-nets${range.family}`, rangeText(range)),
      ...(mac === undefined
        ? []
        : [element(`remote-senders${range.family}`, `${rangeText(range)} . ${mac}`)]),
    ]),
  ];
}

function lowerNets(identities: ReadonlyMap<string, number>, family: Family): KernelObject[] {
  const nets = [...identities].filter(([cidr]) => familyOf(cidr) === family && !isHost(cidr));
  return flatten(nets).map((range) => element(`nets${family}`, rangeText(range), mark(range.value)));
}

/** The one way an address is written here, also where nft writes it otherwise (`::ffff:10.0.0.1`). */
export function canonicalText(text: string): string {
  const address = tryParseAddress(text);
  return address ? formatAddress(address) : text;
}
