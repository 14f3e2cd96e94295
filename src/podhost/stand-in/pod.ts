/** What a pod says → what the stand-in server is to do in it. Pure. */
import type { Pod } from '../../api/types.ts';
import { type DnsSettings, resolvConfOf } from '../../dns/resolv-conf.ts';
import type { PodRecord } from '../records.ts';
import { behaviourOf } from './behaviour.ts';
import type { StandInPod } from './types.ts';

interface Around extends Pick<StandInPod, 'node' | 'log' | 'draining'> {
  dns: DnsSettings;
  ports: Pick<StandInPod, 'tcp' | 'udp'>;
}

export function standInOf(
  pod: Pod,
  record: PodRecord,
  { node, log, draining, dns, ports }: Around,
): StandInPod {
  const { uid, namespace, name, netns, addresses = [] } = record;
  const { nameservers, search, ndots } = resolvConfOf(pod, dns);
  const { tcp, udp } = ports;
  const { behaviour } = behaviourOf(pod);
  return {
    uid,
    namespace,
    name,
    node,
    netns,
    addresses,
    tcp,
    udp,
    log,
    resolv: { nameservers, search, ndots },
    draining,
    ...(behaviour && { behaviour }),
  };
}
