/** What agents of a small cluster would show of their plans, made from a world of policies. */
import { compile } from '../../policy/compile.ts';
import type { World } from '../../policy/world.ts';
import type { EndpointSlice, Service } from '../../api/types.ts';
import type { NodeView } from '../dump/source.ts';
import { createPlan } from '../plan/plan.ts';
import { nodeObject } from './cluster.ts';

export interface ServiceObjects {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
}

/** One view for each node of the world. Nodes have ranges 10.244.N.0/24 and fd00:10:244:N::/64, N from 1. */
export function viewsOf(world: World, services: readonly ServiceObjects[] = []): Map<string, NodeView> {
  const pods = world.pods.filter(({ hostNetwork }) => !hostNetwork);
  const remotes = world.nodes.map(({ name, addresses }, i) => ({
    node: name,
    addresses,
    podCidrs: [`10.244.${i + 1}.0/24`, `fd00:10:244:${i + 1}::/64`],
  }));
  const views = remotes.map(({ node, addresses, podCidrs }): [string, NodeView] => {
    const plan = createPlan({ node });
    plan.setSettings({
      node,
      nodeAddresses: addresses,
      nodeLocal: world.nodeLocal ?? [],
      nodePodCidrs: podCidrs,
      podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'],
      serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
      underlayCidrs: ['10.240.0.0/24', 'fd00:10:240::/64'],
      podLinks: 'hp',
      tunnelPort: 8472,
    });
    for (const remote of remotes) plan.setNode(nodeObject(remote));
    plan.setPolicy(compile(world, { onlyNode: node }));
    plan.setLocalPods(
      pods
        .filter((pod) => pod.node === node && pod.addresses.length > 0)
        .map(({ namespace, name, addresses }, i) => ({ namespace, name, addresses, interface: `hp${i}` })),
    );
    for (const { service, slices } of services) {
      plan.setService(service);
      plan.setSlices(`${service.metadata.namespace ?? ''}/${service.metadata.name}`, slices);
    }
    plan.update();
    return [
      node,
      {
        node,
        backend: 'fake',
        state: plan.state,
        pods: pods.map((pod) => ({
          pod: `${pod.namespace}/${pod.name}`,
          node: pod.node,
          addresses: pod.addresses,
        })),
        nodes: world.nodes,
      },
    ];
  });
  return new Map(views);
}
