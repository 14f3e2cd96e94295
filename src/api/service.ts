import type { IServiceSpec } from 'kubernetes-models/v1/ServiceSpec';
import { ageColumn, joined, labelsText, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { dns1035Label } from './formats.ts';
import { SERVICE } from './kinds.ts';
import { prepareServiceUpdate } from './service-update.ts';
import { validateService, validateServiceUpdate } from './service-validation.ts';
import type { Service } from './types.ts';

/** Seconds: Kubernetes' default for `sessionAffinity: ClientIP`. */
const AFFINITY_TIMEOUT = 10_800;

function external(service: Service): string {
  const { spec } = service;
  const given = spec?.externalIPs ?? [];
  if (spec?.type === 'ExternalName') return spec.externalName || '<none>';
  if (spec?.type !== 'LoadBalancer') return joined(given);
  const assigned = (service.status?.loadBalancer?.ingress ?? []).map((i) => i.ip || i.hostname);
  const shown = [...assigned, ...given].filter((a) => a !== undefined && a !== '');
  return shown.length > 0 ? shown.join(',') : '<pending>';
}

function ports(service: Service): string {
  const type = service.spec?.type;
  return joined(
    (service.spec?.ports ?? []).map((p) =>
      p.nodePort && (type === 'NodePort' || type === 'LoadBalancer')
        ? `${p.port}:${p.nodePort}/${p.protocol ?? 'TCP'}`
        : `${p.port}/${p.protocol ?? 'TCP'}`,
    ),
  );
}

function setAffinityDefaults(spec: IServiceSpec): void {
  spec.sessionAffinity ??= 'None';
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  else {
    spec.sessionAffinityConfig ??= {};
    spec.sessionAffinityConfig.clientIP ??= {};
    spec.sessionAffinityConfig.clientIP.timeoutSeconds ??= AFFINITY_TIMEOUT;
  }
}

function setTrafficDefaults(spec: IServiceSpec): void {
  const exposed = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  if (exposed || (spec.type === 'ClusterIP' && (spec.externalIPs?.length ?? 0) > 0))
    spec.externalTrafficPolicy ??= 'Cluster';
  if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
}

function setDefaults(service: Service): void {
  service.spec ??= {};
  const { spec } = service;
  spec.type ??= 'ClusterIP';
  setAffinityDefaults(spec);
  setTrafficDefaults(spec);
  for (const port of spec.ports ?? []) {
    port.protocol ??= 'TCP';
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '')
      port.targetPort = port.port;
  }
  if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
  service.status ??= {};
  service.status.loadBalancer ??= {};
  for (const ingress of service.status.loadBalancer.ingress ?? []) if (ingress.ip) ingress.ipMode ??= 'VIP';
}

export const service = define<Service>({
  kind: SERVICE,
  singular: 'service',
  shortNames: ['svc'],
  categories: ['all'],
  hasStatus: true,
  name: dns1035Label,
  columns: [
    nameColumn,
    text('Type', 'How it is exposed.', (s) => s.spec?.type ?? 'ClusterIP'),
    text('Cluster-IP', 'Its address within the cluster.', (s) => s.spec?.clusterIP || '<none>'),
    text('External-IP', 'Its addresses for the outside.', external),
    text('Port(s)', 'Its ports, with node ports.', ports),
    ageColumn,
    text('Selector', 'The pods it sends to.', (s) => labelsText(s.spec?.selector), true),
  ],
  setDefaults,
  prepareUpdate: prepareServiceUpdate,
  validate: validateService,
  validateUpdate: validateServiceUpdate,
  selectable: { 'spec.clusterIP': (s) => s.spec?.clusterIP ?? '', 'spec.type': (s) => s.spec?.type ?? '' },
});
