/** One frontend of the plan → what the kernel holds for it. Pure, but for the numbers it draws. */
import type { BackendAddress, FrontendKind, ServiceFrontend } from '../../plan/tables.ts';
import type { Numbers } from './numbers.ts';
import { backendName, slotsOf, weightOf } from './slots.ts';

/** What follows is bpf/include/service-maps.h. */
export const SIDE_INSIDE = 1;
export const SIDE_OUTSIDE = 2;
const BACKEND_LOCAL = 4;

const FRONTEND_DROP_WHEN_EMPTY = 1;
const FRONTEND_DSR = 2;
const FRONTEND_SOURCE_RANGES = 4;

export const SLOTS_PER_CHUNK = 32;

const algorithms: readonly ServiceFrontend['algorithm'][] = [
  'random',
  'round-robin',
  'least-connection',
  'maglev',
  'ring-hash',
  'source-hash',
];
const kinds: readonly FrontendKind[] = ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'];

export interface LoweredBackend {
  readonly number: number;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly flags: number;
}

/** Numbers of backends by slot. */
export type SlotTable = Uint32Array;

/** What is in the kernel already: its numbers stay. */
export interface Known {
  readonly number: number;
  readonly backends: readonly Pick<LoweredBackend, 'number' | 'address' | 'port'>[];
}

export interface Lowered extends Known {
  readonly source: ServiceFrontend;
  readonly backends: readonly LoweredBackend[];
  readonly inside: SlotTable;
  /** The same array as `inside` where both sides have the same backends. */
  readonly outside: SlotTable;
  readonly algorithm: number;
  readonly kind: number;
  readonly flags: number;
}

/** Each frontend has two tables at most. */
export const tableNumber = (frontend: number, side: typeof SIDE_INSIDE | typeof SIDE_OUTSIDE): number =>
  frontend * 2 + (side === SIDE_OUTSIDE ? 1 : 0);

export const outsideTable = (lowered: Lowered): number =>
  tableNumber(lowered.number, lowered.outside === lowered.inside ? SIDE_INSIDE : SIDE_OUTSIDE);

/** Tables so short stand in the frontend itself. */
const INLINE_SLOTS = 4;

export const isInline = (table: SlotTable): boolean => table.length <= INLINE_SLOTS;

export const chunkCount = (table: SlotTable): number =>
  isInline(table) ? 0 : Math.ceil(table.length / SLOTS_PER_CHUNK);

/**
 * The last chunk is filled up with the table's own backends: a reader that still has the old count finds valid ones.
 */
export function chunkOf(table: SlotTable, chunk: number): Uint32Array {
  const from = chunk * SLOTS_PER_CHUNK;
  const part = table.subarray(from, from + SLOTS_PER_CHUNK);
  if (part.length === SLOTS_PER_CHUNK) return part;
  const full = new Uint32Array(SLOTS_PER_CHUNK);
  for (let i = 0; i < SLOTS_PER_CHUNK; i++) full[i] = table[(from + i) % table.length] ?? 0;
  return full;
}

/** Each one once, in the order of `Lowered.backends`. */
export function allBackends({ backends, externalBackends }: ServiceFrontend): readonly BackendAddress[] {
  if (!externalBackends) return backends;
  const all = [...backends, ...externalBackends].map((backend) => [backendName(backend), backend] as const);
  return [...new Map(all).values()];
}

export function lowerFrontend(source: ServiceFrontend, numbers: Numbers, before?: Known): Lowered {
  const number = before?.number ?? numbers.frontend();
  const used = before && new Map(before.backends.map((backend) => [backendName(backend), backend.number]));
  const insiders = source.backends;
  const outsiders = source.externalBackends ?? insiders;
  const backends = new Map<string, LoweredBackend>();
  /** Their numbers. */
  const add = (list: readonly BackendAddress[], side: number): number[] =>
    list.map((backend) => {
      const name = backendName(backend);
      const known = backends.get(name);
      const lowered = {
        number: known?.number ?? used?.get(name) ?? numbers.backend(),
        address: backend.address,
        port: backend.port,
        weight: weightOf(backend),
        flags: (known?.flags ?? 0) | side | (backend.local ? BACKEND_LOCAL : 0),
      };
      backends.set(name, lowered);
      return lowered.number;
    });
  const table = (list: readonly BackendAddress[], side: number): SlotTable => {
    const ids = add(list, side);
    return slotsOf(source.algorithm, list).map((slot) => ids[slot] ?? 0);
  };
  const inside = table(insiders, outsiders === insiders ? SIDE_INSIDE | SIDE_OUTSIDE : SIDE_INSIDE);
  const outside = outsiders === insiders ? inside : table(outsiders, SIDE_OUTSIDE);
  return {
    number,
    source,
    backends: [...backends.values()],
    inside,
    outside,
    algorithm: algorithms.indexOf(source.algorithm),
    kind: kinds.indexOf(source.kind),
    flags:
      (source.whenEmpty === 'drop' ? FRONTEND_DROP_WHEN_EMPTY : 0) |
      (source.forwarding === 'dsr' ? FRONTEND_DSR : 0) |
      (source.sourceRanges ? FRONTEND_SOURCE_RANGES : 0),
  };
}
