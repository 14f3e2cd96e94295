/** Fields of objects that no backend acts on yet: said aloud, never silently ignored. */
import type { Service } from '../../api/types.ts';

export interface Problem {
  /** `Service shop/cart` */
  readonly object: string;
  /** `spec.sessionAffinity` */
  readonly field: string;
  readonly message: string;
}

type Spec = NonNullable<Service['spec']>;

const unsupported: readonly {
  readonly field: string;
  readonly asks: (spec: Spec) => boolean;
  readonly message: string;
}[] = [
  {
    field: 'spec.sessionAffinity',
    asks: (spec) => spec.sessionAffinity === 'ClientIP',
    message: 'connections of one client may go to different endpoints: ClientIP is not acted on yet',
  },
  {
    field: 'spec.internalTrafficPolicy',
    asks: (spec) => spec.internalTrafficPolicy === 'Local',
    message: 'endpoints of every node are used: Local is not acted on yet',
  },
  {
    field: 'spec.type',
    asks: (spec) => spec.type === 'NodePort' || spec.type === 'LoadBalancer',
    message: 'reachable by its cluster addresses only: node ports and load balancers are not acted on yet',
  },
  {
    field: 'spec.externalIPs',
    asks: (spec) => (spec.externalIPs?.length ?? 0) > 0,
    message: 'reachable by its cluster addresses only: external addresses are not acted on yet',
  },
];

export function serviceProblems(service: Service): Problem[] {
  const spec = service.spec;
  if (!spec) return [];
  const object = `Service ${service.metadata.namespace ?? 'default'}/${service.metadata.name}`;
  return unsupported
    .filter(({ asks }) => asks(spec))
    .map(({ field, message }) => ({ object, field, message }));
}
