/** What an update of a Service keeps of what was given out to it. */
import type { Service } from '../api/types.ts';
import { needsHealthCheck } from './allocate-node-ports.ts';

/**
 * Before validation of an update: what the client left out of what was given to it is kept, and what the new
 * type has no use for, and the client did not change, is dropped.
 */
export function inheritAllocations(service: Service, before: Service): void {
  const spec = (service.spec ??= {});
  const old = before.spec ?? {};
  const needs = spec.type !== 'ExternalName';
  if (needs && old.type !== 'ExternalName') {
    if (!spec.clusterIP && !spec.clusterIPs?.length) {
      spec.clusterIP = old.clusterIP;
      spec.clusterIPs = old.clusterIPs;
    }
    spec.ipFamilies ??= old.ipFamilies;
    spec.ipFamilyPolicy ??= old.ipFamilyPolicy;
    // Asked down to one family: the second address goes with it.
    if (spec.ipFamilyPolicy === 'SingleStack' && old.ipFamilyPolicy !== 'SingleStack') {
      spec.clusterIPs = spec.clusterIPs?.slice(0, 1);
      spec.ipFamilies = spec.ipFamilies?.slice(0, 1);
    }
  }
  if (!needs && spec.clusterIP === old.clusterIP) {
    delete spec.clusterIP;
    delete spec.clusterIPs;
    delete spec.ipFamilies;
    delete spec.ipFamilyPolicy;
  }
  inheritNodePorts(spec, old);
  if (needsHealthCheck(spec) && needsHealthCheck(old)) spec.healthCheckNodePort ||= old.healthCheckNodePort;
  dropUnused(spec, old);
}

/** Fields that the new type has no use for, unless the client set them anew: then validation says so. */
function dropUnused(spec: NonNullable<Service['spec']>, old: NonNullable<Service['spec']>): void {
  const balanced = spec.type === 'LoadBalancer';
  const exposed = balanced || spec.type === 'NodePort' || (spec.externalIPs?.length ?? 0) > 0;
  if (!exposed && spec.externalTrafficPolicy === old.externalTrafficPolicy) delete spec.externalTrafficPolicy;
  if (!needsHealthCheck(spec) && spec.healthCheckNodePort === old.healthCheckNodePort)
    delete spec.healthCheckNodePort;
  if (balanced) return;
  if (spec.allocateLoadBalancerNodePorts === old.allocateLoadBalancerNodePorts)
    delete spec.allocateLoadBalancerNodePorts;
  if (spec.loadBalancerClass === old.loadBalancerClass) delete spec.loadBalancerClass;
}

function inheritNodePorts(spec: NonNullable<Service['spec']>, old: NonNullable<Service['spec']>): void {
  const exposed = (type: string | undefined) => type === 'NodePort' || type === 'LoadBalancer';
  const key = (port: { protocol?: string; port: number }) => `${port.protocol ?? 'TCP'}/${port.port}`;
  const held = new Map((old.ports ?? []).map((port) => [key(port), port.nodePort]));
  const named = new Set((spec.ports ?? []).map(({ nodePort }) => nodePort));
  for (const port of spec.ports ?? []) {
    const was = held.get(key(port));
    if (exposed(spec.type) && !port.nodePort && was && !named.has(was)) port.nodePort = was;
    if (!exposed(spec.type) && port.nodePort === was) delete port.nodePort;
  }
}
