/** Keeps the node's DNS records at what Services and EndpointSlices say. */
import { serviceOf } from '../../api/labels.ts';
import type { EndpointSlice, Service } from '../../api/types.ts';
import type { Informer } from '../../client/informer.ts';

export interface NamesDeps {
  readonly services: Informer<Service>;
  readonly slices: Informer<EndpointSlice>;
  readonly namespaces: Pick<Informer<never, { name: string }>, 'onChange' | 'list' | 'synced'>;
  readonly records: {
    setService(service: Service): void;
    removeService(key: string): void;
    setSlices(serviceKey: string, slices: readonly EndpointSlice[]): void;
    setNamespace?(name: string): void;
    removeNamespace?(name: string): void;
    /** From now on a name that is not there does not exist. */
    synced(): void;
  };
}

export async function runNames(deps: NamesDeps): Promise<void> {
  const { services, slices, namespaces, records } = deps;
  const slicesOf = slices.byIndex('service', (slice) => [serviceOf(slice)]);
  services.onChange((key, now) => {
    if (now) records.setService(now);
    else records.removeService(key);
  });
  slices.onChange((_key, now, before) => {
    for (const slice of [now, before])
      if (slice) records.setSlices(serviceOf(slice), slicesOf(serviceOf(slice)));
  });
  namespaces.onChange((key, now) => {
    if (now) records.setNamespace?.(now.name);
    else records.removeNamespace?.(key);
  });
  await Promise.all([services.synced(), slices.synced(), namespaces.synced()]);
  records.synced();
}
