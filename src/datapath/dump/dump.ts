/** Every dump by its name: `heddle datapath dump NAME`. */
import {
  type ConnectionRow,
  dumpConnections,
  dumpPods,
  dumpRoutes,
  type PodRow,
  type RouteRow,
} from './network.ts';
import { dumpIdentities, dumpPolicy, type IdentityRow, type PolicyRow } from './policy.ts';
import { type BackendRow, dumpBackends, dumpServices, type ServiceRow } from './services.ts';
import type { DumpFilter, DumpSource } from './source.ts';

export interface Dumps {
  services: ServiceRow;
  backends: BackendRow;
  identities: IdentityRow;
  policy: PolicyRow;
  conntrack: ConnectionRow;
  routes: RouteRow;
  pods: PodRow;
}

export type DumpName = keyof Dumps;
export type DumpRows = { readonly [N in DumpName]?: readonly Dumps[N][] };

const dumpers: { readonly [N in DumpName]: (source: DumpSource, filter: DumpFilter) => Dumps[N][] } = {
  services: dumpServices,
  backends: dumpBackends,
  identities: dumpIdentities,
  policy: dumpPolicy,
  conntrack: dumpConnections,
  routes: dumpRoutes,
  pods: dumpPods,
};

export const DUMP_NAMES = Object.keys(dumpers) as readonly DumpName[];

export const dump = <N extends DumpName>(name: N, source: DumpSource, filter: DumpFilter): Dumps[N][] =>
  dumpers[name](source, filter);
