/** What an update of a Service keeps of the node ports that were given out to it. */
import type { Service } from '../api/types.ts';
import { needsHealthCheck } from './allocate-node-ports.ts';

/**
 * Before validation of an update: what the client left out of what was given to it is kept, and what the new
 * type has no use for, and the client did not change, is dropped.
 */
export function inheritAllocations(service: Service, before: Service): void {
  const spec = (service.spec ??= {});
  const old = before.spec ?? {};
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

/** As Kubernetes: a port is the same one as long as its name is. */
function inheritNodePorts(spec: NonNullable<Service['spec']>, old: NonNullable<Service['spec']>): void {
  const exposed = (type: string | undefined) => type === 'NodePort' || type === 'LoadBalancer';
  if (!exposed(spec.type) || !exposed(old.type)) return;
  const held = new Map((old.ports ?? []).map(({ name, nodePort }) => [name ?? '', nodePort]));
  const named = new Set((spec.ports ?? []).map(({ nodePort }) => nodePort));
  for (const port of spec.ports ?? []) {
    const was = held.get(port.name ?? '');
    if (port.nodePort || !was || named.has(was)) continue;
    port.nodePort = was;
    named.add(was);
  }
}
