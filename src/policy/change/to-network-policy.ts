/** What a default deny of the default tier would need: a port, a peer, a rule or a policy more, as NetworkPolicies say it. */
import type { NetworkPolicy } from '../../api/types.ts';
import { endPeer, labelsOf, type PeerInput, selectorOfLabels } from '../analyse/identify.ts';
import { ends } from '../decide.ts';
import type { Direction, PolicyRef, Side } from '../decision.ts';
import type { NearMiss } from '../explain.ts';
import type { ResolvedFlow } from '../scene.ts';
import { type Asked, baseName, metadataFor, workloadAt } from './asked.ts';
import { type Candidate, creating, type Edit } from './edit.ts';

const KIND = 'NetworkPolicy';

interface RuleInput {
  from?: PeerInput[];
  to?: PeerInput[];
  ports?: { protocol: string; port: number }[];
}

export function networkPolicyCandidates(
  asked: Asked,
  direction: Direction,
  side: Side,
  near: readonly NearMiss[],
): Candidate[] {
  const { estate, flow } = asked;
  const workload = workloadAt(asked, direction);
  if (side.reason !== 'default-deny' || !workload) return [];
  const { there } = ends(flow, direction);
  const port = portInput(flow);
  const peers = direction === 'ingress' ? 'from' : 'to';
  const peerIn = (namespace: string) => endPeer(estate, there, namespace);
  const edits: Edit[] = [];
  const add = (policy: PolicyRef, path: string, value: unknown) => {
    if (value !== undefined) edits.push({ policy, op: 'append', path, value });
  };
  for (const { rule, missed } of near) {
    if (rule.kind !== KIND) continue;
    if (missed === 'port') add(rule, `${rule.path}.ports`, port);
    if (missed === 'peer') add(rule, `${rule.path}.${peers}`, peerIn(rule.namespace));
  }
  const rule = (namespace: string): RuleInput | undefined => {
    const peer = peerIn(namespace);
    return peer && { [peers]: [peer], ...(port ? { ports: [port] } : {}) };
  };
  for (const ref of side.isolatedBy)
    if (ref.kind === KIND) add(ref, `spec.${direction}`, rule(ref.namespace));
  const own = rule(workload.namespace);
  if (own) {
    const made: NetworkPolicy = {
      apiVersion: 'networking.k8s.io/v1',
      kind: KIND,
      metadata: metadataFor(
        asked,
        { kind: KIND, namespace: workload.namespace },
        baseName(workload, direction, flow),
      ),
      spec: {
        podSelector: selectorOfLabels(labelsOf(estate, workload)) as never,
        policyTypes: [direction === 'ingress' ? 'Ingress' : 'Egress'],
        [direction]: [own],
      },
    };
    edits.push(creating(made));
  }
  const whole = flow.request ? { whole: true as const } : {};
  return edits.map((edit) => ({ edit, ...whole }));
}

/** Undefined for what has no ports: only a rule for every port allows it. */
const portInput = ({ protocol, port }: ResolvedFlow) => (port === undefined ? undefined : { protocol, port });
