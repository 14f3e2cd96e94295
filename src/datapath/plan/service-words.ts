/** What annotations of a Service say about how its connections are balanced; unknown words say nothing. */
import type { Service } from '../../api/types.ts';
import { type Cidr, type Family, formatCidr, tryParseCidr } from '../../lib/ip.ts';
import type { BalanceAlgorithm, FrontendKind, ServiceFrontend } from './tables.ts';

export const BALANCE = 'heddle.dev/balance';
export const FORWARDING = 'heddle.dev/forwarding';
export const SOURCE_RANGES = 'service.beta.kubernetes.io/load-balancer-source-ranges';

export const ALGORITHMS: readonly BalanceAlgorithm[] = [
  'random',
  'round-robin',
  'least-connection',
  'maglev',
  'ring-hash',
  'source-hash',
  'destination-hash',
  'shortest-expected-delay',
  'never-queue',
];
export const FORWARDINGS: readonly ServiceFrontend['forwarding'][] = ['snat', 'dsr'];

const said = (service: Service, key: string): string | undefined => service.metadata.annotations?.[key];

/**
 * Clients outside may reach any node: with Maglev all nodes choose the same backend for a connection, so that
 * it outlives a change of the node that it comes through.
 */
export function algorithmOf(service: Service, kind: FrontendKind): BalanceAlgorithm {
  const asked = ALGORITHMS.find((one) => one === said(service, BALANCE));
  return asked ?? (kind === 'ClusterIP' ? 'random' : 'maglev');
}

/** Clients inside are always answered by way of where they asked: only what comes from outside can be DSR. */
export function forwardingOf(service: Service, kind: FrontendKind): ServiceFrontend['forwarding'] {
  if (kind === 'ClusterIP') return 'snat';
  return FORWARDINGS.find((one) => one === said(service, FORWARDING)) ?? 'snat';
}

/** Undefined: everybody may. Empty: ranges are given, and none of this family. */
export function sourceRangesOf(service: Service, family: Family): string[] | undefined {
  const texts = rangeTexts(service);
  if (texts.length === 0) return undefined;
  const ranges = texts.map(tryParseCidr).filter((cidr): cidr is Cidr => cidr?.family === family);
  return [...new Set(ranges.map(formatCidr))].sort();
}

/** The field wins over the annotation, as in Kubernetes. */
export function rangeTexts(service: Service): string[] {
  const field = service.spec?.loadBalancerSourceRanges ?? [];
  const texts = field.length > 0 ? field : (said(service, SOURCE_RANGES) ?? '').split(',');
  return texts.map((text) => text.trim()).filter((text) => text !== '');
}
