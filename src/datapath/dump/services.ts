/** Frontends, and who stands behind each. */
import { type BackendAddress, frontendKey, type ServiceFrontend } from '../plan/tables.ts';
import { createNames, type DumpFilter, isAskedFor, type NodeView } from './source.ts';

export interface ServiceRow {
  readonly service: string;
  readonly kind: string;
  readonly address: string;
  readonly protocol: string;
  readonly port: number;
  readonly algorithm: string;
  /** Null: a client may meet another backend each time. */
  readonly affinitySeconds: number | null;
  readonly backends: number;
  /** For clients outside of the cluster, where they are others. */
  readonly externalBackends: number | null;
  readonly whenEmpty: string;
  readonly forwarding: string;
  readonly sourceRanges: readonly string[] | null;
}

export interface BackendRow {
  readonly service: string;
  readonly kind: string;
  readonly frontend: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** Part of new connections, 0 to 1, as far as weights say. */
  readonly share: number;
  readonly local: boolean;
  readonly pod: string | null;
  /** Node of that pod. */
  readonly podNode: string | null;
  /** Which clients meet it. */
  readonly clients: 'all' | 'inside' | 'outside';
}

const frontends = ({ state }: NodeView, filter: DumpFilter): ServiceFrontend[] =>
  [...state.services.values()].filter(({ service }) => isAskedFor(service, filter, 'service'));

export const dumpServices = (view: NodeView, filter: DumpFilter): ServiceRow[] =>
  frontends(view, filter).map((each) => ({
    service: each.service,
    kind: each.kind,
    address: each.address,
    protocol: each.protocol,
    port: each.port,
    algorithm: each.algorithm,
    affinitySeconds: each.affinitySeconds ?? null,
    backends: each.backends.length,
    externalBackends: each.externalBackends?.length ?? null,
    whenEmpty: each.whenEmpty,
    forwarding: each.forwarding,
    sourceRanges: each.sourceRanges ?? null,
  }));

export function dumpBackends(view: NodeView, filter: DumpFilter): BackendRow[] {
  const names = createNames(view);
  return frontends(view, { namespace: filter.namespace, service: filter.service }).flatMap((frontend) => {
    const { backends, externalBackends } = frontend;
    const row = (backend: BackendAddress, all: readonly BackendAddress[], clients: BackendRow['clients']) => {
      const pod = names.pod(backend.address);
      return {
        service: frontend.service,
        kind: frontend.kind,
        frontend: frontendKey(frontend),
        address: backend.address,
        port: backend.port,
        weight: weightOf(backend),
        share: shareOf(backend, all),
        local: backend.local === true,
        pod: pod?.pod ?? null,
        podNode: pod?.node ?? null,
        clients,
      };
    };
    const rows =
      externalBackends === undefined
        ? backends.map((each) => row(each, backends, 'all'))
        : [
            ...backends.map((each) => row(each, backends, 'inside')),
            ...externalBackends.map((each) => row(each, externalBackends, 'outside')),
          ];
    return rows.filter(
      ({ pod }) => filter.pod === undefined || (pod !== null && isAskedFor(pod, { pod: filter.pod }, 'pod')),
    );
  });
}

const weightOf = ({ weight }: BackendAddress): number => weight ?? 1;

/** Of new connections. */
export function shareOf(backend: BackendAddress, all: readonly BackendAddress[]): number {
  const total = all.reduce((sum, each) => sum + weightOf(each), 0);
  return total === 0 ? 0 : weightOf(backend) / total;
}
