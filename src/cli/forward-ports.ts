/** Which ports `heddle port-forward` means: here, and in the pod. */
import { POD, SERVICE } from '../api/kinds.ts';
import type { Pod, Service } from '../api/types.ts';
import type { Client } from '../client/types.ts';
import { HeddleError } from '../lib/errors.ts';
import type { PodTarget } from './pod-target.ts';

export interface PortWish {
  /** 0: any that is free. */
  readonly local: number;
  /** A number or a name, of the pod, or of the service where one was named. */
  readonly remote: string;
}

export interface PortPair {
  readonly local: number;
  readonly remote: number;
}

/** `8080:80`, `80`, `:80`, `8080:http`. @throws HeddleError `BadFlag` */
export function parsePorts(text: string): PortWish {
  const bad = () =>
    new HeddleError('BadFlag', `"${text}": expected PORT, LOCAL:PORT or :PORT, such as 8080:80 or 8080:http`);
  const match = /^(?:(\d{0,5}):)?([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$/.exec(text);
  if (!match) throw bad();
  const [, before, remote = ''] = match;
  const isNumber = /^\d+$/.test(remote);
  if (isNumber && !isPort(remote)) throw bad();
  if (before) {
    if (Number(before) > 65_535) throw bad();
    return { local: Number(before), remote };
  }
  // A name alone says nothing about a port here.
  return { local: before === undefined && isNumber ? Number(remote) : 0, remote };
}

const isPort = (text: string): boolean => Number(text) >= 1 && Number(text) <= 65_535;

/** @throws HeddleError `NoSuchPort` */
export async function resolvePorts(
  client: Client,
  word: string,
  target: PodTarget,
  wishes: readonly PortWish[],
): Promise<PortPair[]> {
  const pod = await client.get(POD, target.pod, target.namespace);
  const named = /^(?:svc|service|services)\/(.+)$/.exec(word.toLowerCase())?.[1];
  const service = named ? await client.get(SERVICE, named, target.namespace) : undefined;
  return wishes.map(({ local, remote }) => ({
    local,
    remote: service ? ofService(service, pod, remote) : ofPod(pod, remote),
  }));
}

/** As kubectl does: the port that the service leads to. */
export function ofService(service: Service, pod: Pod, remote: string): number {
  const { name, namespace } = service.metadata;
  const ports = service.spec?.ports ?? [];
  const found = ports.find((one) => one.name === remote || String(one.port) === remote);
  if (!found)
    throw new HeddleError('NoSuchPort', `service ${namespace}/${name} has no port ${remote}`, {
      hint: `it has ${ports.map((one) => [one.port, one.name].filter(Boolean).join(' ')).join(', ') || 'none'}`,
    });
  // Without an address of its own nothing is translated.
  if (service.spec?.clusterIP === 'None') return found.port;
  return ofPod(pod, String(found.targetPort ?? found.port));
}

export function ofPod(pod: Pod, remote: string): number {
  if (/^\d+$/.test(remote)) return Number(remote);
  const ports = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].flatMap(
    (container) => container.ports ?? [],
  );
  const found = ports.find((one) => one.name === remote && (one.protocol ?? 'TCP') === 'TCP');
  if (found) return found.containerPort;
  throw new HeddleError(
    'NoSuchPort',
    `pod ${pod.metadata.namespace}/${pod.metadata.name} has no port "${remote}"`,
    {
      hint: `named ones: ${ports.flatMap((one) => one.name ?? []).join(', ') || 'none'}`,
    },
  );
}
