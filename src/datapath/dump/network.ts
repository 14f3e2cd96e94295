/** Pods with their links, routes, and connections that the kernel remembers. */
import { protocolName } from '../../lib/protocols.ts';
import type { TrackedFlow } from '../backend.ts';
import { SETTINGS_KEY } from '../plan/tables.ts';
import { routingOf } from '../routing.ts';
import { vtepMac } from '../vtep.ts';
import {
  createNames,
  type DumpFilter,
  type DumpSource,
  endText,
  isAskedFor,
  type Names,
  type NodeView,
} from './source.ts';

export interface PodRow {
  readonly pod: string;
  readonly interface: string;
  readonly addresses: readonly string[];
  readonly mac: string | null;
  readonly netns: string | null;
  /** Policy tables; 0: not isolated. Null: no policy was compiled for it yet. */
  readonly ingress: number | null;
  readonly egress: number | null;
}

export const dumpPods = ({ state }: NodeView, filter: DumpFilter): PodRow[] =>
  [...state.pods]
    .filter(([pod]) => isAskedFor(pod, filter, 'pod'))
    .map(([pod, local]) => {
      const tables = state.endpoints.get(local.addresses[0] ?? '');
      return {
        pod,
        interface: local.interface,
        addresses: local.addresses,
        mac: local.mac ?? null,
        netns: local.netns ?? null,
        ingress: tables?.ingress ?? null,
        egress: tables?.egress ?? null,
      };
    });

export interface RouteRow {
  readonly range: string;
  readonly to: string;
  readonly how: 'pod links' | 'tunnel' | 'route' | 'this node' | 'service';
  /** Underlay address of the other node, and its MAC in a tunnel whose packets are frames. */
  readonly via: string | null;
  readonly mac: string | null;
}

export function dumpRoutes({ node, state }: NodeView): RouteRow[] {
  const settings = state.settings.get(SETTINGS_KEY);
  const plain = (range: string, to: string, how: RouteRow['how']): RouteRow => ({
    range,
    to,
    how,
    via: null,
    mac: null,
  });
  return [
    ...(settings?.nodePodCidrs ?? []).map((range) => plain(range, node, 'pod links')),
    ...[...(settings?.nodeAddresses ?? []), ...(settings?.nodeLocal ?? [])].map((address) =>
      plain(address, node, 'this node'),
    ),
    ...[...state.routes.values()].flatMap((remote) => {
      const via = remote.addresses[0] ?? null;
      const { sends } = routingOf(settings);
      const mac = via === null || sends === 'native' || sends === 'gre' ? null : vtepMac(via);
      const how = sends === 'native' ? ('route' as const) : ('tunnel' as const);
      return remote.podCidrs.map((range) => ({ range, to: remote.node, how, via, mac }));
    }),
    ...(settings?.serviceCidrs ?? []).map((range) => plain(range, 'a backend, or refused', 'service')),
  ];
}

export interface ConnectionRow {
  readonly protocol: string;
  readonly src: string;
  readonly srcName: string | null;
  readonly dst: string;
  readonly dstName: string | null;
  /** Who answers where `dst` was translated. */
  readonly backend: string | null;
  readonly backendName: string | null;
  /** What the server sees as the client, where that was translated. */
  readonly seenAs: string | null;
  readonly verdict: string | null;
  readonly rules: readonly string[];
  readonly state: string | null;
  readonly packets: number | null;
  readonly bytes: number | null;
  readonly expires: number | null;
}

export function dumpConnections(source: DumpSource, filter: DumpFilter): ConnectionRow[] {
  const names = createNames(source);
  return source.flows
    .filter((flow) => concerns(flow, names, filter))
    .map((flow) => {
      const { backend, seenAs } = flow;
      return {
        protocol: protocolName(flow.protocol),
        src: endText(flow.src, flow.sport),
        srcName: names.address(flow.src) ?? null,
        dst: endText(flow.dst, flow.dport),
        dstName: serviceOf(flow, names) ?? names.address(flow.dst) ?? null,
        backend: backend ? endText(backend.address, backend.port) : null,
        backendName: (backend && names.address(backend.address)) ?? null,
        seenAs: seenAs ? endText(seenAs.address, seenAs.port) : null,
        verdict: flow.verdict ?? null,
        rules: [flow.egressRule, flow.ingressRule].flatMap((rule) =>
          rule ? [source.state.rules.get(String(rule))?.text ?? String(rule)] : [],
        ),
        state: flow.state ?? null,
        packets: sum(flow.sent?.packets, flow.received?.packets),
        bytes: sum(flow.sent?.bytes, flow.received?.bytes),
        expires: flow.expires ?? null,
      };
    });
}

const sum = (a: number | undefined, b: number | undefined): number | null =>
  a === undefined && b === undefined ? null : (a ?? 0) + (b ?? 0);

function serviceOf({ dst, dport, protocol }: TrackedFlow, names: Names): string | undefined {
  const service = names.service(dst, protocolName(protocol), dport);
  return service === undefined ? undefined : `service ${service}`;
}

function concerns(flow: TrackedFlow, names: Names, filter: DumpFilter): boolean {
  const pods = [flow.src, flow.dst, flow.backend?.address ?? ''].flatMap(
    (address) => names.pod(address)?.pod ?? [],
  );
  const service = names.service(flow.dst, protocolName(flow.protocol), flow.dport);
  if (
    filter.service !== undefined &&
    !(service !== undefined && isAskedFor(service, { service: filter.service }, 'service'))
  )
    return false;
  if (filter.pod !== undefined && !pods.some((pod) => isAskedFor(pod, { pod: filter.pod }, 'pod')))
    return false;
  const spaces = [...pods, ...(service === undefined ? [] : [service])];
  return filter.namespace === undefined || spaces.some((name) => name.startsWith(`${filter.namespace}/`));
}
