/** Services and their endpoints as policies may refer to them. */
import { SERVICE_NAME } from '../api/labels.ts';
import type { EndpointSlice, Service } from '../api/types.ts';
import type { Informer } from '../client/informer.ts';
import type { CalicoPolicy } from '../api/calico-types.ts';
import { namesCalicoServices } from '../policy/language/calico-policy.ts';
import { type CiliumPolicyObject, namesApiServer, namesServices } from '../policy/language/cilium-policy.ts';
import { isApiServer } from '../policy/services.ts';
import type { AnyObject } from '../policy/surroundings.ts';

interface ServiceInformers {
  readonly services: Pick<Informer<Service>, 'list' | 'get'>;
  readonly slices: Pick<Informer<EndpointSlice>, 'list'>;
}

/** One object for one object: what is read of it is remembered by identity. */
const known = new WeakMap<object, AnyObject>();

/** In lists objects need not say what they are. */
function typedAs(one: Service | EndpointSlice, apiVersion: string, kind: string): AnyObject {
  const typed = known.get(one) ?? { ...one, apiVersion, kind };
  known.set(one, typed);
  return typed;
}

const typed = (services: readonly Service[], slices: readonly EndpointSlice[]): readonly AnyObject[] => [
  ...services.map((one) => typedAs(one, 'v1', 'Service')),
  ...slices.map((one) => typedAs(one, 'discovery.k8s.io/v1', 'EndpointSlice')),
];

/** The Service that the API server is reached by. */
export function apiServerService({ services, slices }: ServiceInformers): readonly AnyObject[] {
  const service = services.get('default/kubernetes');
  return typed(service ? [service] : [], slices.list().filter(isOfApiServer));
}

export const isOfApiServer = ({ metadata }: EndpointSlice): boolean => {
  const { namespace, labels } = metadata;
  return isApiServer({ namespace, name: labels?.[SERVICE_NAME] ?? '' });
};

interface PolicyInformers extends ServiceInformers {
  readonly ciliumPolicies?: { list(): readonly CiliumPolicyObject[] };
  readonly clusterwidePolicies?: { list(): readonly CiliumPolicyObject[] };
  readonly calicoPolicies?: { list(): readonly CalicoPolicy[] };
  readonly globalPolicies?: { list(): readonly CalicoPolicy[] };
}

/** What of Services the policies that there are refer to: there are tens of thousands, and mostly none is meant. */
export function createReferred(informers: PolicyInformers) {
  const { services, slices, ciliumPolicies, clusterwidePolicies, calicoPolicies, globalPolicies } = informers;
  const inCilium = (names: (policy: CiliumPolicyObject) => boolean): boolean =>
    [ciliumPolicies, clusterwidePolicies].some((informer) => informer?.list().some(names));
  const isNamed = (): boolean =>
    inCilium(namesServices) ||
    [calicoPolicies, globalPolicies].some((informer) => informer?.list().some(namesCalicoServices));
  return {
    services(): readonly AnyObject[] {
      if (isNamed()) return typed(services.list(), slices.list());
      return inCilium(namesApiServer) ? apiServerService(informers) : [];
    },
    /** Whether a change of a Service or of its slices may change what a policy means. */
    isTouched: (ofApiServer: boolean): boolean => isNamed() || (ofApiServer && inCilium(namesApiServer)),
  };
}
