/** The eBPF backend of a node, whole: programs loaded, parts in their order, and the way to take all of it away. */
import { rmSync } from 'node:fs';
import type { Netns } from '../../kernel/netns.ts';
import { readSysctl, writeSysctl } from '../../kernel/sysctl.ts';
import type { Log } from '../../lib/log.ts';
import type { Backend } from '../backend.ts';
import type { Overlay } from '../overlay.ts';
import { createEbpfBackend } from './backend.ts';
import { SERVICE_CAPABILITIES } from './capabilities.ts';
import type { CoreDeps } from './core/part.ts';
import { createEdgePart, type EdgeDeps } from './edge/part.ts';
import { type NodePrograms, openNodePrograms } from './node-programs.ts';
import { createServicesPart } from './services/part.ts';
import { createXdpPart } from './xdp/part.ts';

export interface OpenEbpfDeps extends NodePrograms {
  /** Folder of the cgroup that holds the node's processes and those of its pods. */
  readonly cgroup: string;
  /** The node's network namespace. */
  readonly ns: Netns;
  readonly route: CoreDeps['route'] & EdgeDeps['route'];
  readonly overlay: Overlay;
}

/** @throws HeddleError `BpfObject`, `BpfLoad`, `BpfLayout`, `Kernel` */
export function openEbpfBackend(deps: OpenEbpfDeps): Backend {
  const { pinDir, cgroup, ns, route, overlay, log } = deps;
  const programs = openNodePrograms(deps);
  const services = createServicesPart({ programs, cgroup, ns, log });
  const edge = createEdgePart({
    programs,
    ns,
    route,
    readSysctl: (key) => readSysctl(ns, key),
    writeSysctl: (key, value) => writeSysctl(ns, key, value),
    every: (seconds, work) => repeat(seconds, work, log),
    log,
  });
  const xdp = createXdpPart({ programs, ns, route, log });
  const backend = createEbpfBackend({
    programs,
    ns,
    route,
    overlay,
    parts: [xdp, services, edge],
    log,
    capabilities: { ...SERVICE_CAPABILITIES, protection: { denied: true, limits: true } },
    extras: { translated: async () => edge.translated() },
  });
  return {
    ...backend,
    async remove() {
      await backend.remove?.();
      // Attachments end with their pins, and maps with the last program that uses them.
      rmSync(pinDir, { recursive: true, force: true });
    },
  };
}

/** The next time begins when the last one is over. */
function repeat(seconds: number, work: () => Promise<void>, log: Log): () => void {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    timer = setTimeout(() => {
      work()
        .catch((error: unknown) => {
          if (!stopped)
            log.warn('connections were not counted again, or silent nodes not asked for', { error });
        })
        .finally(() => {
          if (!stopped) wait();
        });
    }, seconds * 1000).unref();
  };
  wait();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
