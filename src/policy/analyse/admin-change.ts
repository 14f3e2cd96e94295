/** A new AdminNetworkPolicy for one connection: it decides before every NetworkPolicy, and can deny. */
import { NAMESPACE_NAME } from '../../api/labels.ts';
import type { AdminNetworkPolicy } from '../../api/types.ts';
import { ends } from '../decide.ts';
import type { Direction, Side } from '../decision.ts';
import { formatAddress } from '../../lib/ip.ts';
import type { End, ResolvedFlow, Scene } from '../scene.ts';
import { TIERS } from '../tiers.ts';
import type { Estate, Workload } from './estate.ts';
import { labelsOf, selectorOfLabels, workloadOfPod } from './identify.ts';

/** The largest priority that decides last in its tier. */
const LAST_PRIORITY = 1000;

/** Objects to try, the best first. None where the other end is one that such a policy cannot name. */
export function adminPolicies(
  estate: Estate,
  scene: Scene,
  flow: ResolvedFlow,
  direction: Direction,
  side: Side,
): AdminNetworkPolicy[] {
  const { here, there } = ends(flow, direction);
  const workload = here.type === 'pod' ? workloadOfPod(estate, here.pod) : undefined;
  const peer = peerOf(estate, there, direction);
  if (!workload || !peer) return [];
  const action = side.verdict === 'deny' ? 'Allow' : 'Deny';
  const { protocol, port } = flow;
  const what = port === undefined ? protocol.toLowerCase() : `${protocol.toLowerCase()}-${port}`;
  const rule = {
    action,
    [direction === 'ingress' ? 'from' : 'to']: [peer],
    ...(port === undefined ? {} : { ports: [{ portNumber: { protocol, port } }] }),
  };
  return priorities(scene, side).map(
    (priority) =>
      ({
        apiVersion: 'policy.networking.k8s.io/v1alpha1',
        kind: 'AdminNetworkPolicy',
        metadata: {
          name: freeName(
            estate,
            `${workload.namespace}-${workload.name}-${direction}-${what}-${action.toLowerCase()}`,
          ),
        },
        spec: { priority, subject: { pods: podsOf(estate, workload) }, [direction]: [rule] },
      }) as unknown as AdminNetworkPolicy,
  );
}

/** Before the rule that decides where it is of the same tier; else behind all others, or before all others. */
function priorities({ policies }: Scene, { rule: ref }: Side): number[] {
  const rule = ref && policies.flatMap(({ rules }) => rules).find((each) => samePlace(each.ref, ref));
  if (rule?.tier === TIERS.admin) return rule.priority > 0 ? [rule.priority - 1] : [];
  return [LAST_PRIORITY, 0];
}

const samePlace = (a: NonNullable<Side['rule']>, b: NonNullable<Side['rule']>): boolean =>
  a.kind === b.kind && a.namespace === b.namespace && a.name === b.name && a.path === b.path;

function podsOf(estate: Estate, workload: Workload) {
  return {
    namespaceSelector: { matchLabels: { [NAMESPACE_NAME]: workload.namespace } },
    podSelector: selectorOfLabels(labelsOf(estate, workload)),
  };
}

function peerOf(estate: Estate, end: End, direction: Direction): object | undefined {
  if (end.type === 'pod') {
    const workload = workloadOfPod(estate, end.pod);
    return workload && { pods: podsOf(estate, workload) };
  }
  // Ingress rules of this kind know pods only.
  if (direction === 'ingress' || !end.address) return undefined;
  return { networks: [`${formatAddress(end.address)}/${end.address.family === 4 ? 32 : 128}`] };
}

function freeName({ world }: Estate, base: string): string {
  const taken = new Set(
    world.policies.filter(({ kind }) => kind === 'AdminNetworkPolicy').map(({ metadata }) => metadata.name),
  );
  let name = base;
  for (let i = 2; taken.has(name); i++) name = `${base}-${i}`;
  return name;
}
