/** Services and their endpoints as policies may refer to them. */
import { SERVICE_NAME } from '../api/labels.ts';
import type { EndpointSlice, Service } from '../api/types.ts';
import type { Informer } from '../client/informer.ts';
import { isApiServer } from '../policy/services.ts';
import type { AnyObject } from '../policy/surroundings.ts';

interface ServiceInformers {
  readonly services: Pick<Informer<Service>, 'list' | 'get'>;
  readonly slices: Pick<Informer<EndpointSlice>, 'list'>;
}

/** In lists objects need not say what they are. */
const typed = (services: readonly Service[], slices: readonly EndpointSlice[]): readonly AnyObject[] => [
  ...services.map((one) => ({ ...one, apiVersion: 'v1', kind: 'Service' })),
  ...slices.map((one) => ({ ...one, apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' })),
];

export const allServices = ({ services, slices }: ServiceInformers): readonly AnyObject[] =>
  typed(services.list(), slices.list());

/** The Service that the API server is reached by. */
export function apiServerService({ services, slices }: ServiceInformers): readonly AnyObject[] {
  const service = services.get('default/kubernetes');
  return typed(service ? [service] : [], slices.list().filter(isOfApiServer));
}

export const isOfApiServer = ({ metadata }: EndpointSlice): boolean => {
  const { namespace, labels } = metadata;
  return isApiServer({ namespace, name: labels?.[SERVICE_NAME] ?? '' });
};
