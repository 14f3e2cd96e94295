/** A frontend → virtual services of the kernel with their destinations. */
import { type IpvsDestination, type IpvsKey, type IpvsService } from '../../kernel/ipvs-codec.ts';
import { protocolNumbers } from '../../lib/protocols.ts';
import type { BackendAddress, ServiceFrontend } from '../plan/tables.ts';
import { schedulerOf } from './schedulers.ts';

export interface Virtual {
  readonly service: IpvsService;
  readonly destinations: readonly IpvsDestination[];
  /** UDP: who goes takes his flows with him. Others may end what they have. */
  readonly datagrams: boolean;
}

/** Somebody of them gets new connections. */
export const isOpen = (backends: readonly BackendAddress[]): boolean =>
  backends.some(({ weight = 1 }) => weight > 0);

/** Backends of clients outside, where they are others than those of pods. */
export function outsideOf({
  backends,
  externalBackends,
}: ServiceFrontend): readonly BackendAddress[] | undefined {
  if (!externalBackends) return undefined;
  const text = (list: readonly BackendAddress[]) =>
    list.map(({ address, port, weight = 1 }) => `${address} ${port} ${weight}`).join();
  return text(externalBackends) === text(backends) ? undefined : externalBackends;
}

/** @param mark of packets of clients outside, where they have backends of their own */
export function virtualsOf(frontend: ServiceFrontend, mark: number): Virtual[] {
  const { address, protocol, port, backends } = frontend;
  const family = address.includes(':') ? 6 : 4;
  const external = outsideOf(frontend);
  const key: IpvsKey = { family, protocol: protocolNumbers[protocol], address, port };
  return [
    ...virtual(frontend, key, backends),
    ...(external ? virtual(frontend, { family, fwmark: mark }, external) : []),
  ];
}

function virtual(
  { algorithm, affinitySeconds = 0, protocol }: ServiceFrontend,
  key: IpvsKey,
  backends: readonly BackendAddress[],
): Virtual[] {
  if (!isOpen(backends)) return [];
  const { name: scheduler, flags } = schedulerOf(algorithm, backends);
  return [
    {
      service: { key, scheduler, flags, persistence: affinitySeconds },
      destinations: backends.map(({ address, port, weight = 1 }) => ({ address, port, weight })),
      datagrams: protocol === 'UDP',
    },
  ];
}
