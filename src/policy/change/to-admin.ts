/** A new AdminNetworkPolicy for one connection: it decides before every NetworkPolicy, and can deny. */
import { NAMESPACE_NAME } from '../../api/labels.ts';
import type { AdminNetworkPolicy } from '../../api/types.ts';
import type { Estate, Workload } from '../analyse/estate.ts';
import { labelsOf, selectorOfLabels, workloadOfPod } from '../analyse/identify.ts';
import { ends } from '../decide.ts';
import type { Direction, RuleRef, Side } from '../decision.ts';
import type { Rule } from '../model.ts';
import type { End, Scene } from '../scene.ts';
import { TIERS } from '../tiers.ts';
import { type Asked, blockOfEnd, metadataFor, workloadAt } from './asked.ts';
import { type Candidate, creating } from './edit.ts';

const KIND = 'AdminNetworkPolicy';

/** The largest priority that decides last in its tier. */
const LAST_PRIORITY = 1000;

/** Objects to try, the best first. None where the other end is one that such a policy cannot name. */
export function adminCandidates(asked: Asked, direction: Direction, side: Side): Candidate[] {
  const { estate, scene, flow } = asked;
  const workload = workloadAt(asked, direction);
  const peer = peerOf(estate, ends(flow, direction).there, direction);
  if (!workload || !peer) return [];
  const action = side.verdict === 'deny' ? 'Allow' : 'Deny';
  const { protocol, port } = flow;
  const what = port === undefined ? protocol.toLowerCase() : `${protocol.toLowerCase()}-${port}`;
  const base = `${workload.namespace}-${workload.name}-${direction}-${what}-${action.toLowerCase()}`;
  const rule = {
    action,
    [direction === 'ingress' ? 'from' : 'to']: [peer],
    ...(port === undefined ? {} : { ports: [{ portNumber: { protocol, port } }] }),
  };
  const whole = flow.request ? { whole: true as const } : {};
  const denying = side.rule && ruleAt(scene, side.rule);
  const isFirst = denying?.tier === TIERS.admin && denying.priority === 0;
  const before: Candidate[] =
    isFirst && side.rule?.kind === KIND
      ? [{ edit: { policy: side.rule, op: 'insert', path: side.rule.path, value: rule }, ...whole }]
      : [];
  return [
    ...before,
    ...priorities(denying).map((priority) => ({
      edit: creating({
        apiVersion: 'policy.networking.k8s.io/v1alpha1',
        kind: KIND,
        metadata: metadataFor(asked, { kind: KIND, namespace: '' }, base),
        spec: { priority, subject: { pods: podsOf(estate, workload) }, [direction]: [rule] },
      } as unknown as AdminNetworkPolicy),
      ...whole,
    })),
  ];
}

/** Before the rule that decides where it is of the same tier; else behind all others, or before all others. */
function priorities(denying: Rule | undefined): number[] {
  if (denying?.tier === TIERS.admin) return denying.priority > 0 ? [denying.priority - 1] : [];
  return [LAST_PRIORITY, 0];
}

const ruleAt = ({ policies }: Scene, ref: RuleRef): Rule | undefined =>
  policies.flatMap(({ rules }) => rules).find((each) => samePlace(each.ref, ref));

const samePlace = (a: RuleRef, b: RuleRef): boolean =>
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
  const block = direction === 'ingress' ? undefined : blockOfEnd(end);
  return block === undefined ? undefined : { networks: [block] };
}
