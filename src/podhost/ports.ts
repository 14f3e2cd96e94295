/** Which ports a stand-in opens for a pod: declared, probed, and those that services send traffic to. */
import type { Pod } from '../api/types.ts';

type Container = NonNullable<Pod['spec']>['containers'][number];
export type Probe = NonNullable<Container['readinessProbe']>;

export interface ServedPort {
  port: number;
  protocol: string;
}

export interface PodPorts {
  tcp: number[];
  udp: number[];
  /** What a stand-in cannot serve, in words. */
  notes: string[];
}

export const containersOf = (pod: Pod): Container[] => [...(pod.spec?.containers ?? [])];

/** Init containers that keep running beside the others. */
export const sidecarsOf = (pod: Pod): Container[] =>
  (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');

const probesOf = (container: Container): Probe[] =>
  [container.startupProbe, container.readinessProbe, container.livenessProbe].filter(
    (one) => one !== undefined,
  );

export function portsOf(pod: Pod, more: readonly ServedPort[] = []): PodPorts {
  const tcp = new Set<number>();
  const udp = new Set<number>();
  const notes: string[] = [];
  const add = ({ port, protocol }: ServedPort) => {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) return;
    if (protocol === 'TCP') tcp.add(port);
    else if (protocol === 'UDP') udp.add(port);
    else notes.push(`port ${port} is ${protocol}: stand-ins serve TCP and UDP`);
  };
  for (const container of [...containersOf(pod), ...sidecarsOf(pod)]) {
    for (const { containerPort, protocol = 'TCP' } of container.ports ?? [])
      add({ port: containerPort, protocol });
    for (const probe of probesOf(container)) {
      if (probe.exec) notes.push(`a probe of ${container.name} runs a command: taken as passed`);
      if (probe.httpGet?.scheme === 'HTTPS')
        notes.push(`a probe of ${container.name} wants TLS: a connection will do`);
      const port = probePort(container, probe);
      if (port !== undefined && !udp.has(port)) add({ port, protocol: 'TCP' });
    }
  }
  for (const port of more) add(port);
  return { tcp: [...tcp].sort(byNumber), udp: [...udp].sort(byNumber), notes };
}

const byNumber = (a: number, b: number): number => a - b;

/** A probe names its port by number or by the name of a declared one. */
export function probePort(container: Container, probe: Probe): number | undefined {
  const port = probe.httpGet?.port ?? probe.tcpSocket?.port ?? probe.grpc?.port;
  if (typeof port === 'number') return port;
  if (port === undefined) return undefined;
  const declared = container.ports?.find(({ name }) => name === port)?.containerPort;
  return declared ?? (/^\d+$/.test(port) ? Number(port) : undefined);
}
