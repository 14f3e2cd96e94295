/** What can program a node's kernel, by name. */
import { join } from 'node:path';
import type { DatapathName } from '../cluster/config.ts';
import type { NodePaths } from '../cluster/paths.ts';
import type { Backend } from '../datapath/backend.ts';
import { createShaper, withBandwidth } from '../datapath/bandwidth.ts';
import { composeBackends } from '../datapath/compose.ts';
import { openEbpfBackend } from '../datapath/ebpf/open.ts';
import { prepareEbpf } from '../datapath/ebpf/prepare.ts';
import { createPrograms } from '../datapath/iptables/programs.ts';
import { createIptablesServices } from '../datapath/iptables/services.ts';
import { createIpvsPart } from '../datapath/ipvs/part.ts';
import type { Movable } from '../datapath/movable.ts';
import { createNftablesBackend, type NftablesDeps } from '../datapath/nftables/backend.ts';
import { NFLOG_GROUP } from '../datapath/nftables/names.ts';
import type { Overlay } from '../datapath/overlay.ts';
import { findCgroup2Mount } from '../kernel/cgroup.ts';
import { openConntrack } from '../kernel/conntrack.ts';
import { openIpvs } from '../kernel/ipvs.ts';
import { currentNetns } from '../kernel/netns.ts';
import { type Nflog, openNflog } from '../kernel/nflog.ts';
import { openNft } from '../kernel/nft.ts';
import type { Route } from '../kernel/route.ts';
import { run } from '../kernel/spawn.ts';
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts';
import { HeddleError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { DatapathFile } from './datapath-file.ts';

export interface BackendsDeps {
  /** rtnetlink of the node's namespace. */
  readonly route: Route;
  /** Routes between nodes are the same under every backend. */
  readonly overlay: Overlay;
  readonly paths: Pick<NodePaths, 'bpf' | 'cgroup'>;
  /** Folder of the compiled eBPF programs. */
  readonly objectDir: string;
  /** Entries of eBPF maps, by name. */
  readonly mapSizes: Readonly<Record<string, number>>;
  readonly log: Log;
}

/** IPVS keeps a table of its own, into which nobody can write. */
const HEIRS: ReadonlySet<string> = new Set<DatapathName>(['ebpf', 'nftables', 'iptables']);

export interface Backends {
  /** What of opening it takes long, beside the event loop. Never rejects: `open` says what is wrong. */
  prepare(name: string): Promise<void>;
  /** In this process's network namespace. @throws HeddleError where it cannot be had, by name */
  open(name: string): Backend;
  /** Whether it goes on with connections that another one translates. */
  takesOver(name: string): boolean;
  /** Records of the kernel's packet log that nobody read in time. */
  lost(): number;
}

function repeat(seconds: number, work: () => void): () => void {
  const timer = setInterval(work, seconds * 1000).unref();
  return () => clearInterval(timer);
}

export function createBackends(deps: BackendsDeps): Backends {
  const { route, overlay, paths, objectDir, mapSizes, log } = deps;
  let nflog: Nflog | undefined;
  // One for all: a pod's queue stays where it is while the node moves to another data path.
  const shaper = createShaper({ ns: currentNetns(), route, log });
  function nftables(use: Pick<NftablesDeps, 'table' | 'services' | 'relayed'>): Backend {
    const conntrack = openConntrack();
    return createNftablesBackend({
      ...use,
      nft: openNft(),
      neighbours: { route, every: repeat },
      overlay,
      deleteFlows: (filter) => conntrack.delete(filter),
      listFlows: () => conntrack.list(),
      addFlows: (connections) => conntrack.add(connections),
      openNflog: (onPackets) => (nflog = openNflog({ group: NFLOG_GROUP, onPackets })),
      log,
    });
  }
  const sysctls = {
    read: (key: string) => readSysctl(undefined, key),
    write: (key: string, value: string) => writeSysctl(undefined, key, value),
  };
  const openers: Partial<Record<DatapathName, () => Backend>> = {
    ebpf: () =>
      openEbpfBackend({
        objectDir,
        pinDir: paths.bpf,
        maxEntries: mapSizes,
        cgroup: join(findCgroup2Mount() ?? '', paths.cgroup),
        ns: currentNetns(),
        route,
        overlay,
        log,
      }),
    nftables: () => nftables({}),
    iptables() {
      const conntrack = openConntrack();
      const services = createIptablesServices({
        programs: createPrograms({ run }),
        deleteFlows: (filter) => conntrack.delete(filter),
        listFlows: () => conntrack.list(),
        addFlows: (connections) => conntrack.add(connections),
        sysctls,
        log,
      });
      const policy = nftables({ table: 'heddle-policy-iptables', services: false });
      return composeBackends({ name: 'iptables', parts: [policy, services] });
    },
    ipvs() {
      const conntrack = openConntrack();
      const services = createIpvsPart({
        openIpvs: () => openIpvs(),
        nft: openNft(),
        route,
        sysctls,
        deleteFlows: (filter) => conntrack.delete(filter),
        listFlows: () => conntrack.list(),
        every: repeat,
        log,
      });
      const policy = nftables({ table: 'heddle-policy-ipvs', services: false, relayed: true });
      return composeBackends({ name: 'ipvs', parts: [policy, services] });
    },
  };
  return {
    async prepare(name) {
      if (name === 'ebpf') await prepareEbpf({ objectDir, pinDir: paths.bpf, maxEntries: mapSizes, log });
    },
    open(name) {
      const open = openers[name as DatapathName];
      if (!open)
        throw new HeddleError('NoDatapath', `there is no data path ${name}`, {
          hint: `choose one of ${Object.keys(openers).join(', ')}`,
        });
      return withBandwidth(open(), shaper);
    },
    takesOver: (name) => HEIRS.has(name),
    lost: () => nflog?.stats().lost ?? 0,
  };
}

/** Moves the node, and remembers it: before the move, so that an agent which dies in the middle finishes it. */
export const moveDatapath =
  (backend: Movable, file: DatapathFile, log: Log) =>
  async (to: string): Promise<void> => {
    const before = backend.name;
    await file.choose(to);
    try {
      await backend.move(to);
    } catch (error) {
      await file.choose(backend.name);
      throw error;
    }
    if (before !== to) log.info('the node moved to another data path', { from: before, to });
  };
