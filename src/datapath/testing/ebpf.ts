/** The eBPF backend in a lab's node, with what it sends laid open. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { readSysctl, writeSysctl } from '../../kernel/sysctl.ts';
import { silentLog } from '../../lib/log.ts';
import type { Backend } from '../backend.ts';
import { createEbpfBackend } from '../ebpf/backend.ts';
import { SERVICE_CAPABILITIES } from '../ebpf/capabilities.ts';
import { createEdgePart } from '../ebpf/edge/part.ts';
import { openPrograms, type Programs } from '../ebpf/loader.ts';
import { unneededPrograms } from '../ebpf/unneeded.ts';
import type { Part } from '../ebpf/part.ts';
import { SOCKET_MAPS, socketGlobals } from '../ebpf/services/attach.ts';
import { createXdpPart } from '../ebpf/xdp/part.ts';
import { createServicesPart } from '../ebpf/services/part.ts';
import { emptyCgroup, ownCgroup } from '../ebpf/services/testing/rig.ts';
import { createOverlay } from '../overlay.ts';
import { type KeptPins, takePins } from './kept-pins.ts';
import type { LabNode } from './lab.ts';

type After = Pick<TestContext, 'after'>;

export interface OpenedEbpf extends Backend {
  readonly programs: Programs;
  /** How many calls of `apply` and `prune` wrote to maps. */
  sent(): number;
}

const OBJECTS = join(import.meta.dirname, '../../../build/bpf');

/** A node's pins stay while its lab is there: a second backend is the agent started again. */
const pinsOfNodes = new WeakMap<LabNode, KeptPins>();

function pinsOf(t: After, node: LabNode, options: unknown): KeptPins {
  const key = JSON.stringify(options);
  const pins = pinsOfNodes.get(node) ?? takePins(t, key);
  pinsOfNodes.set(node, pins);
  if (pins.key !== key) pins.spoil();
  return pins;
}

export interface EbpfOptions {
  /** Default: what `make -C bpf` builds. */
  readonly objectDir?: string;
  /** Small enough to be filled by tests. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** False: this process's sockets are in no cgroup with hooks, so that tc translates. Default: true. */
  readonly hooks?: boolean;
  /** Beside the core. Default: all there are. */
  readonly parts?: (t: After, node: LabNode, programs: Programs) => readonly Part[];
}

/** One for all nodes of a test: the programs tell them apart by namespace. */
const cgroups = new WeakMap<After, string>();

function cgroupOf(t: After, hooks: boolean): string {
  const cgroup = cgroups.get(t) ?? (hooks ? ownCgroup(t) : emptyCgroup(t));
  cgroups.set(t, cgroup);
  return cgroup;
}

const WITHOUT_HOOKS: typeof SERVICE_CAPABILITIES = {
  ...SERVICE_CAPABILITIES,
  services: SERVICE_CAPABILITIES.services && { ...SERVICE_CAPABILITIES.services, loopbackNodePorts: [] },
};

const allParts = (t: After, { ns, route }: LabNode, programs: Programs, hooks: boolean): readonly Part[] => [
  createXdpPart({ programs, ns, route, log: silentLog }),
  createServicesPart({ programs, cgroup: cgroupOf(t, hooks), ns, log: silentLog }),
  createEdgePart({
    programs,
    ns,
    route,
    readSysctl: (key) => readSysctl(ns, key),
    writeSysctl: (key, value) => writeSysctl(ns, key, value),
    log: silentLog,
  }),
];

export const openEbpfWith =
  ({ objectDir = OBJECTS, maxEntries, parts, hooks = true }: EbpfOptions) =>
  (t: After, node: LabNode): OpenedEbpf => {
    const { ns, route, settings } = node;
    const sizes = { policy_entries: 8192, ...maxEntries };
    const pins = pinsOf(t, node, { objectDir, sizes });
    const programs = openPrograms({
      objectDir,
      pinDir: pins.folder,
      log: silentLog,
      maxEntries: sizes,
      globals: socketGlobals(),
      learned: SOCKET_MAPS,
      skip: unneededPrograms(),
    });
    const closed = pins.opened();
    const counted = countWrites(programs);
    const backend = createEbpfBackend({
      programs: counted.programs,
      ns,
      route,
      overlay: createOverlay(route, {
        vni: 72,
        port: 4789,
        mtu: 1450,
        nodeAddresses: settings.nodeAddresses,
      }),
      ...(parts
        ? { parts: parts(t, node, counted.programs) }
        : {
            parts: allParts(t, node, counted.programs, hooks),
            capabilities: hooks ? SERVICE_CAPABILITIES : WITHOUT_HOOKS,
          }),
      log: silentLog,
    });
    let sent = 0;
    let open = true;
    const close = () => {
      if (!open) return;
      open = false;
      backend.close();
      closed();
    };
    const counting =
      <A, R>(call: (argument: A) => Promise<R>) =>
      async (argument: A): Promise<R> => {
        const before = counted.writes();
        const result = await call(argument);
        if (counted.writes() > before) sent++;
        return result;
      };
    t.after(close);
    return {
      ...backend,
      programs,
      apply: counting((changes) => backend.apply(changes)),
      prune: counting((state) => backend.prune(state)),
      sent: () => sent,
      close,
    };
  };

export const openEbpf = openEbpfWith({});
/** Everything that is said to services is translated at tc. */
export const openEbpfAtTc = openEbpfWith({ hooks: false });

function countWrites(programs: Programs): { programs: Programs; writes(): number } {
  let writes = 0;
  const count =
    <A extends unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R => {
      writes++;
      return call(...args);
    };
  return {
    programs: {
      ...programs,
      map(name) {
        const map = programs.map(name);
        return {
          ...map,
          update: count(map.update),
          delete: count(map.delete),
          updateBatch: count(map.updateBatch),
          deleteBatch: count(map.deleteBatch),
        };
      },
    },
    writes: () => writes,
  };
}
