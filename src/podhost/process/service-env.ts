/** Variables that name services, as a kubelet makes them: `WEB_SERVICE_HOST`, and the older ones of links. Pure. */
import type { Pod, Service } from '../../api/types.ts';
import { formatHostPort } from '../../lib/ip.ts';

/** Those of the pod's namespace, and the API server's own. */
export function serviceEnvOf(pod: Pod, services: readonly Service[]): Record<string, string> {
  const linked = pod.spec?.enableServiceLinks !== false;
  const own = new Map<string, Service>();
  for (const service of services) {
    const { name, namespace } = service.metadata;
    const isApi = namespace === 'default' && name === 'kubernetes';
    if (isApi ? !own.has(name) : linked && namespace === pod.metadata.namespace) own.set(name, service);
  }
  return Object.fromEntries([...own.values()].flatMap((service) => [...variables(service)]));
}

/** None for a service without an address of its own. */
function variables({ metadata, spec }: Service): [name: string, value: string][] {
  const host = spec?.clusterIP ?? '';
  const ports = spec?.ports ?? [];
  const [first] = ports;
  if (host === '' || host === 'None' || !first) return [];
  const prefix = inName(metadata.name);
  return [
    [`${prefix}_SERVICE_HOST`, host],
    [`${prefix}_SERVICE_PORT`, String(first.port)],
    ...ports
      .filter(({ name }) => name)
      .map(({ name, port }): [string, string] => [`${prefix}_SERVICE_PORT_${inName(name!)}`, String(port)]),
    [`${prefix}_PORT`, urlOf(host, first)],
    ...ports.flatMap((port) => link(prefix, host, port)),
  ];
}

type Port = NonNullable<NonNullable<Service['spec']>['ports']>[number];

function link(prefix: string, host: string, port: Port): [name: string, value: string][] {
  const { port: number, protocol = 'TCP' } = port;
  const at = `${prefix}_PORT_${number}_${protocol}`;
  return [
    [at, urlOf(host, port)],
    [`${at}_PROTO`, protocol.toLowerCase()],
    [`${at}_PORT`, String(number)],
    [`${at}_ADDR`, host],
  ];
}

const urlOf = (host: string, { port, protocol = 'TCP' }: Port): string =>
  `${protocol.toLowerCase()}://${formatHostPort(host, port)}`;

const inName = (name: string): string => name.toUpperCase().replaceAll('-', '_');
