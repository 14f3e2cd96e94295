/** What an update of a Service means by what it leaves out: addresses stay, and a type's own fields go with it. */
import type { IServiceSpec } from 'kubernetes-models/v1/ServiceSpec';
import { sameJson } from '../lib/json.ts';
import { keepAddresses } from './service-addresses.ts';
import type { Service } from './types.ts';

type Field = Exclude<keyof IServiceSpec, 'ports' | 'type'>;

const exposed = (spec: IServiceSpec): boolean => spec.type === 'NodePort' || spec.type === 'LoadBalancer';
const balanced = (spec: IServiceSpec): boolean => spec.type === 'LoadBalancer';
const addressed = (spec: IServiceSpec): boolean => spec.type !== 'ExternalName';

/** Fields, and the services that have them. */
const RULES: readonly {
  readonly fields: readonly Field[];
  readonly needs: (spec: IServiceSpec) => boolean;
}[] = [
  {
    fields: ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy', 'internalTrafficPolicy'],
    needs: addressed,
  },
  { fields: ['externalName'], needs: (spec) => !addressed(spec) },
  { fields: ['allocateLoadBalancerNodePorts', 'loadBalancerClass'], needs: balanced },
  {
    fields: ['externalTrafficPolicy'],
    needs: (spec) => exposed(spec) || (addressed(spec) && (spec.externalIPs?.length ?? 0) > 0),
  },
  {
    fields: ['healthCheckNodePort'],
    needs: (spec) => balanced(spec) && spec.externalTrafficPolicy === 'Local',
  },
];

/**
 * A Service that changes its type loses what only the old type has, unless the same update sets it anew. A new
 * object, or `now` itself.
 */
export function prepareServiceUpdate(now: Service, before: Service): Service {
  if (!now.spec || !before.spec) return now;
  const spec = { ...now.spec };
  const old = before.spec;
  keepAddresses(spec, old);
  for (const { fields, needs } of RULES)
    if (needs(old) && !needs(spec))
      for (const field of fields) if (sameJson(spec[field], old[field])) delete spec[field];
  const nodePorts = (of: IServiceSpec) => (of.ports ?? []).map((port) => port.nodePort ?? 0);
  if (
    exposed(old) &&
    !exposed(spec) &&
    nodePorts(spec).every((port) => port === 0 || nodePorts(old).includes(port))
  )
    spec.ports = spec.ports?.map(({ nodePort: _dropped, ...port }) => port);
  // What a balancer gave is of no use to another type; the field itself is the status writer's.
  if (balanced(old) && !balanced(spec) && now.status?.loadBalancer?.ingress)
    return { ...now, spec, status: { ...now.status, loadBalancer: {} } };
  return { ...now, spec };
}
