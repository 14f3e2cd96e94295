/** Who answers at a port of a Service: workloads, and the ports that their pods listen at. */
import type { Estate, Workload } from '../analyse/estate.ts';
import type { PortProtocol, WorldPod } from '../world.ts';
import type { Opened } from './opened.ts';
import type { ServiceObject, ServicePort } from './services.ts';

export interface Endpoint {
  readonly workload: Workload;
  readonly protocol: PortProtocol;
  readonly port: number;
}

export type Resolved =
  | { readonly ok: true; readonly endpoints: readonly Endpoint[] }
  | { readonly ok: false; readonly why: string };

export type Resolve = (opened: Pick<Opened, 'service' | 'port' | 'protocol'>) => Resolved;

export function createResolver({ workloads }: Estate, services: readonly ServiceObject[]): Resolve {
  const byName = new Map(
    services.map((each) => [`${each.metadata.namespace ?? 'default'}/${each.metadata.name}`, each]),
  );
  const here = new Map<string, { pod: WorldPod; workload: Workload }[]>();
  for (const workload of workloads)
    for (const pod of workload.pods) {
      const list = here.get(pod.namespace) ?? [];
      here.set(pod.namespace, list);
      list.push({ pod, workload });
    }
  const fail = (why: string): Resolved => ({ ok: false, why });

  return ({ service: { namespace, name }, port: wanted, protocol }) => {
    const title = `Service ${namespace}/${name}`;
    const service = byName.get(`${namespace}/${name}`);
    if (!service) return fail(`there is no ${title} in what was read`);
    const { type, selector, ports = [] } = service.spec ?? {};
    if (type === 'ExternalName') return fail(`${title} is a name outside (ExternalName)`);
    const meant = ports.filter((port) => isMeant(port, wanted, protocol));
    if (meant.length === 0)
      return fail(wanted === null ? `names no port of ${title}` : `${title} has no port ${wanted}`);
    const labels = Object.entries(selector ?? {});
    if (labels.length === 0) return fail(`${title} has no selector: its endpoints are kept by hand`);
    const picked = (here.get(namespace) ?? []).filter(({ pod }) =>
      labels.every(([key, value]) => pod.labels[key] === value),
    );
    if (picked.length === 0) return fail(`${title} selects no pod that was read`);
    const endpoints = meant.flatMap((port) =>
      picked.flatMap(({ pod, workload }) =>
        targets(port, pod).map((at): Endpoint => ({ workload, protocol: port.protocol ?? 'TCP', port: at })),
      ),
    );
    if (endpoints.length === 0)
      return fail(`no pod of ${title} has a port named ${meant.map(({ targetPort }) => targetPort).join()}`);
    return { ok: true, endpoints: unique(endpoints) };
  };
}

const isMeant = (port: ServicePort, wanted: number | string | null, protocol: PortProtocol): boolean =>
  (port.protocol ?? 'TCP') === protocol &&
  (typeof wanted === 'number' ? port.port === wanted : wanted !== null && port.name === wanted);

function targets({ port, targetPort = port, protocol = 'TCP' }: ServicePort, pod: WorldPod): number[] {
  // A Service of long ago, and a text in quotes, have numbers as names.
  if (typeof targetPort === 'number') return [targetPort];
  if (/^\d+$/.test(targetPort)) return [Number(targetPort)];
  const named = pod.ports.find((each) => each.name === targetPort && each.protocol === protocol);
  return named ? [named.port] : [];
}

function unique(endpoints: readonly Endpoint[]): Endpoint[] {
  const found = new Map<Workload, Map<string, Endpoint>>();
  for (const each of endpoints) {
    const ports = found.get(each.workload) ?? new Map<string, Endpoint>();
    found.set(each.workload, ports);
    ports.set(`${each.protocol} ${each.port}`, each);
  }
  return [...found.values()].flatMap((ports) => [...ports.values()]);
}
