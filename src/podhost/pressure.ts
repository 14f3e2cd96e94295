/** Whether the node is short of memory, disk or processes, as the machine is: a kubelet's conditions, in its words. */
import type { Signal, Thresholds } from '../api/eviction.ts';
import { shortagesOf } from '../api/shortage.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { MachineRoom } from '../lib/machine-room.ts';

export type Pressure = 'MemoryPressure' | 'DiskPressure' | 'PIDPressure';

export interface PressureCondition {
  readonly type: Pressure;
  readonly status: 'True' | 'False';
  readonly reason: string;
  /** The same until the status is another one. */
  readonly message: string;
}

export interface NodePressureDeps {
  /** What the machine has left now. */
  read(): Promise<MachineRoom>;
  readonly thresholds: Thresholds;
  /** A status is another one; not for those of the first look that are well. */
  changed?(condition: PressureCondition): void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface NodePressure {
  /** Undefined until it could be read. */
  machine(): MachineRoom | undefined;
  conditions(): readonly PressureCondition[];
  look(): Promise<void>;
  /** Looks again and again. */
  run(signal: AbortSignal): Promise<void>;
}

/** Milliseconds between looks: as a kubelet. */
const LOOK = 10_000;
/**
 * Milliseconds that a shortage has to be over for. A kubelet's five minutes are for what it evicts to come back; nothing
 * is evicted here, and who has made room wants to go on.
 */
const RELIEF = 30_000;

const KINDS: readonly {
  type: Pressure;
  signals: readonly Signal[];
  well: readonly [reason: string, message: string];
  short: readonly [reason: string, message: string];
}[] = [
  {
    type: 'MemoryPressure',
    signals: ['memory.available'],
    well: ['KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    short: ['KubeletHasInsufficientMemory', 'kubelet has insufficient memory available'],
  },
  {
    type: 'DiskPressure',
    signals: ['nodefs.available', 'nodefs.inodesFree'],
    well: ['KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    short: ['KubeletHasDiskPressure', 'kubelet has disk pressure'],
  },
  {
    type: 'PIDPressure',
    signals: ['pid.available'],
    well: ['KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
    short: ['KubeletHasInsufficientPID', 'kubelet has insufficient PID available'],
  },
];

export function createNodePressure({
  read,
  thresholds,
  changed,
  clock,
  log,
}: NodePressureDeps): NodePressure {
  let machine: MachineRoom | undefined;
  /** By type, monotonic milliseconds when it was seen short last. */
  const shortAt = new Map<Pressure, number>();
  let conditions: readonly PressureCondition[] = [];

  function judge(room: MachineRoom): void {
    const now = clock.monotonic();
    const before = conditions;
    conditions = KINDS.map((kind) => {
      const why = shortages(kind.signals, thresholds, room);
      if (why !== undefined) shortAt.set(kind.type, now);
      const isShort = now - (shortAt.get(kind.type) ?? Number.NEGATIVE_INFINITY) < RELIEF;
      const had = before.find(({ type }) => type === kind.type);
      if (had && (had.status === 'True') === isShort) return had;
      const [reason, message] = isShort ? kind.short : kind.well;
      const words = why === undefined ? message : `${message}: ${why}`;
      return { type: kind.type, status: isShort ? 'True' : 'False', reason, message: words };
    });
    for (const one of conditions) {
      const had = before.find(({ type }) => type === one.type);
      if (had?.status !== one.status && (had || one.status === 'True')) changed?.(one);
    }
  }

  async function look(): Promise<void> {
    try {
      machine = await read();
      judge(machine);
    } catch (error) {
      log.warn('cannot see what the machine has left', { error: errorText(error) });
    }
  }

  return {
    machine: () => machine,
    conditions: () => conditions,
    look,
    async run(signal) {
      while (!signal.aborted) {
        await clock.sleep(LOOK, signal).catch(() => {});
        if (!signal.aborted) await look();
      }
    },
  };
}

/** Undefined: there is enough of all. */
function shortages(
  signals: readonly Signal[],
  thresholds: Thresholds,
  room: MachineRoom,
): string | undefined {
  const words = shortagesOf(signals, thresholds, room);
  return words.length === 0 ? undefined : `${words.join('; ')}; no new pods are taken`;
}
