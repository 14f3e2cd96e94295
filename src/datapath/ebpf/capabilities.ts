/** What the eBPF backend with all of its parts can do for services. */
import type { Capabilities } from '../backend.ts';

export const SERVICE_CAPABILITIES: Pick<Capabilities, 'sessionAffinity' | 'services'> = {
  sessionAffinity: true,
  services: {
    kinds: ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'],
    algorithms: ['random', 'round-robin', 'least-connection', 'maglev', 'ring-hash', 'source-hash'],
    forwarding: ['snat', 'dsr'],
    protocols: ['TCP', 'UDP', 'SCTP'],
    weights: true,
    sourceRanges: true,
    trafficPolicies: true,
    loopbackNodePorts: [4, 6],
  },
};
