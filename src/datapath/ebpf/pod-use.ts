/** What single pods take of tables that all pods of the node share, and what it cost them. */
import type { PodUse } from '../backend.ts';
import type { Programs } from './loader.ts';

/** BUDGET_WINDOW of flow-maps.h. */
const WINDOW_NS = 30e9;

interface Budget {
  readonly until: bigint;
  readonly created: bigint;
  readonly crowded: bigint;
}

interface NatUser {
  readonly created: bigint;
  readonly gave_way: bigint;
  readonly refused: bigint;
}

export interface PodUseDeps {
  readonly programs: Pick<Programs, 'map' | 'mapCodecs'>;
  /** `namespace/name` of a pod by the index of its link. */
  podOf(link: number): string | undefined;
  /** Nanoseconds on the programs' clock. Default: now. */
  readonly monotonicNs?: () => bigint;
}

/** Those who had more than their share at some time, the heaviest first. */
export function readPodUse({ programs, podOf, monotonicNs = process.hrtime.bigint }: PodUseDeps): PodUse[] {
  const flows = byLink<Budget>(programs, 'flow_budgets');
  const neighbours = byLink<Budget>(programs, 'neighbour_budgets');
  const translated = byLink<NatUser>(programs, 'nat_users');
  const now = monotonicNs();
  const out: PodUse[] = [];
  for (const link of new Set([...flows.keys(), ...neighbours.keys(), ...translated.keys()])) {
    const flow = flows.get(link);
    const nat = translated.get(link);
    const crowded = Number(flow?.crowded ?? 0n);
    const gaveWay = Number(nat?.gave_way ?? 0n);
    const refused = Number((nat?.refused ?? 0n) + (neighbours.get(link)?.crowded ?? 0n));
    if (crowded + gaveWay + refused === 0) continue;
    const pod = podOf(link);
    // Of pods that are gone the kernel keeps what it counted for a while.
    if (pod === undefined) continue;
    const share = flow ? Number(flow.until - now) / WINDOW_NS : 0;
    out.push({
      pod,
      share: Math.min(1, Math.max(0, share)),
      begun: Number(flow?.created ?? 0n),
      crowded,
      gaveWay,
      refused,
    });
  }
  return out.sort((a, b) => weight(b) - weight(a));
}

const weight = ({ crowded, gaveWay, refused }: PodUse): number => crowded + gaveWay + refused;

function byLink<V>(programs: PodUseDeps['programs'], name: string): Map<number, V> {
  const { key, value } = programs.mapCodecs<{ value: number }, V>(name);
  return new Map(
    [...programs.map(name).entries()].map(([k, v]) => [key.decode(k).value, value.decode(v)] as const),
  );
}
