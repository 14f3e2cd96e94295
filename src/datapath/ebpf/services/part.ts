/** Services of the eBPF data path: tables of frontends and the programs that exchange addresses of sockets. */
import type { Netns } from '../../../kernel/netns.ts';
import type { Log } from '../../../lib/log.ts';
import type { LocalPod, PlanTables, ServiceFrontend, Settings } from '../../plan/tables.ts';
import { SETTINGS_KEY } from '../../plan/tables.ts';
import type { Programs } from '../loader.ts';
import type { Part } from '../part.ts';
import { attachSockets, detachSockets } from './attach.ts';
import { createClients } from './clients.ts';
import { connectedSockets } from './connected.ts';
import { cutDatagrams } from './cut-datagrams.ts';
import { createLoopbackTable } from './loopback.ts';
import { createRecords } from './records.ts';
import { createServiceTable, type Gone } from './table.ts';

export interface ServicesDeps {
  readonly programs: Programs;
  /** Folder of the cgroup that holds the node's and its pods' processes, or of one above it. */
  readonly cgroup: string;
  /** The node's network namespace. */
  readonly ns: Netns;
  readonly log: Log;
}

export interface ServicesPart extends Part {
  /** Sockets connected to UDP backends that are gone are cut after `apply` returned: waits for that. */
  settled(): Promise<void>;
}

export function createServicesPart({ programs, cgroup, ns, log }: ServicesDeps): ServicesPart {
  const maps = {
    frontends: programs.map('frontends'),
    backends: programs.map('backends'),
    service_tables: programs.map('service_tables'),
    source_ranges: programs.map('source_ranges'),
    service_ranges: programs.map('service_ranges'),
  };
  const counts = [programs.map('backend_connections'), programs.map('backend_flows')];
  const table = createServiceTable(maps, createRecords(programs.codec));
  const loopback = createLoopbackTable(programs);
  const clients = createClients({ map: programs.map('netns_cookies'), ns, log });
  let cutting: Promise<void> = Promise.resolve();

  function release(gone: readonly Gone[]): void {
    const datagrams = new Set<number>();
    for (const { frontend, backend } of gone) {
      if (frontend.algorithm === 'least-connection')
        for (const map of counts) map.delete(keyOf(backend.number));
      if (frontend.protocol === 'UDP') datagrams.add(backend.number);
    }
    if (datagrams.size > 0) cutting = cutting.then(() => cutLater(datagrams));
  }

  /** Reading the sockets of every pod takes longer than the change itself may. */
  const cutLater = (backends: ReadonlySet<number>): Promise<void> =>
    new Promise((resolve) =>
      setImmediate(() => {
        try {
          cutDatagrams({ connected: connectedSockets(programs), open: clients.open }, backends);
        } catch (error) {
          log.warn('UDP sockets of removed backends were not cut', { error });
        }
        resolve();
      }),
    );

  return {
    name: 'services',
    apply(changes) {
      const services = new Map<string, ServiceFrontend | undefined>();
      const pods = new Map<string, LocalPod | undefined>();
      let settings: Settings | undefined;
      for (const change of changes) {
        if (change.table === 'services') services.set(change.key, change.value);
        else if (change.table === 'pods') pods.set(change.key, change.value);
        else if (change.table === 'settings') settings = change.value;
      }
      clients.apply(pods);
      if (settings) loopback.table.become([loopback.row(settings)]);
      if (services.size > 0 || settings) release(table.apply(services, settings));
    },
    prune(state) {
      const differences = [
        ...table.prune(state.services, settingsOf(state.settings)),
        ...clients.prune(state.pods),
        ...loopback.table.prune([loopback.row(settingsOf(state.settings))]),
      ];
      programs.catchUp();
      const { created } = attachSockets(programs, cgroup);
      programs.catchUp();
      if (created > 0) differences.push({ kind: 'missing', what: `${created} programs at ${cgroup}` });
      return differences;
    },
    verify: (state) => [
      ...table.verify(state.services, settingsOf(state.settings)),
      ...clients.verify(state.pods),
      ...loopback.table.verify([loopback.row(settingsOf(state.settings))]),
    ],
    remove: () => detachSockets(programs),
    settled: () => cutting,
  };
}

const settingsOf = (settings: ReadonlyMap<string, PlanTables['settings']>): Settings | undefined =>
  settings.get(SETTINGS_KEY);

const keyOf = (number: number): Uint8Array => new Uint8Array(Uint32Array.of(number).buffer);
