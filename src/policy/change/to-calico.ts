/** A rule in the tier of Calico's that denies: in a policy of it, or in one of its own with an order before what denies. */
import type { CalicoEntityRule, CalicoNetworkPolicy, CalicoRule } from '../../api/calico-types.ts';
import { CALICO_NAME } from '../../api/labels.ts';
import type { Labels } from '../../api/selector.ts';
import { labelsOf, workloadOfPod } from '../analyse/identify.ts';
import { ends } from '../decide.ts';
import type { Direction, PolicyRef, Side } from '../decision.ts';
import { CALICO_NETWORK_POLICY_KIND } from '../language/calico-policy.ts';
import { DEFAULT_TIER } from '../language/calico-tiers.ts';
import { type Asked, baseName, blockOfEnd, httpAsked, metadataFor, workloadAt } from './asked.ts';
import { type Candidate, creating, type Edit, objectOf } from './edit.ts';

const isCalico = ({ kind }: PolicyRef): boolean =>
  kind === CALICO_NETWORK_POLICY_KIND || kind === 'GlobalNetworkPolicy';

/** Of policies that need no other: before those without an order, and where NetworkPolicies stand. */
const ORDER = 1_000;

export function calicoCandidates(asked: Asked, direction: Direction, side: Side): Candidate[] {
  const workload = workloadAt(asked, direction);
  const denying = (side.reason === 'rule' && side.rule ? [side.rule] : (side.closedBy ?? [])).filter(
    isCalico,
  );
  const [first] = denying;
  if (!workload || !first) return [];
  const made = ruleOf(asked, direction);
  if (!made) return [];
  const { whole } = made;
  const edits: Edit[] = [];
  for (const ref of denying) {
    const rule = made.rule(ref.namespace);
    edits.push(
      'path' in ref
        ? { policy: ref, op: 'insert', path: String(ref.path), value: rule }
        : { policy: ref, op: 'append', path: `spec.${direction}`, value: rule },
    );
  }
  const { tier, order } = (objectOf(asked.estate.world, first) as CalicoNetworkPolicy).spec ?? {};
  const of = { kind: CALICO_NETWORK_POLICY_KIND, namespace: workload.namespace };
  const isDefault = tier === undefined || tier === '' || tier === DEFAULT_TIER;
  const base = `${isDefault ? '' : `${tier}.`}${baseName(workload, direction, asked.flow)}`;
  edits.push(
    creating({
      apiVersion: 'projectcalico.org/v3',
      kind: 'NetworkPolicy',
      metadata: metadataFor(asked, of, base),
      spec: {
        ...(isDefault ? {} : { tier }),
        order: side.reason === 'rule' && typeof order === 'number' ? order - 1 : ORDER,
        selector: expression(labelsOf(asked.estate, workload)),
        types: [direction === 'ingress' ? 'Ingress' : 'Egress'],
        [direction]: [made.rule(workload.namespace)],
      },
    }),
  );
  return edits.map((edit) => ({ edit, ...(whole ? { whole } : {}) }));
}

interface Made {
  /** In a policy of this namespace; empty: of all. */
  rule(namespace: string): CalicoRule;
  readonly whole: true | undefined;
}

/** Undefined: the other end has no name. */
function ruleOf(asked: Asked, direction: Direction): Made | undefined {
  const { flow } = asked;
  const peer = peerOf(asked, direction);
  if (!peer) return undefined;
  const http = direction === 'ingress' ? httpAsked(asked) : undefined;
  const [path] = (http?.path ?? '').split(/[?#]/);
  const l7 = http ? { http: { methods: [http.method], paths: [{ exact: path }] } } : {};
  const ports = flow.port === undefined || flow.port === 0 ? {} : { ports: [flow.port] };
  return {
    whole: flow.request && !http ? true : undefined,
    rule(namespace) {
      const there = peer(namespace);
      const destination = direction === 'ingress' ? ports : { ...there, ...ports };
      return {
        action: 'Allow',
        ...protocolOf(asked),
        ...(direction === 'ingress' ? { source: there } : {}),
        ...(Object.keys(destination).length > 0 ? { destination } : {}),
        ...l7,
      };
    },
  };
}

function protocolOf({ flow: { protocol, icmp, protocolNumber } }: Asked): object {
  if (protocol === 'OTHER') return protocolNumber === undefined ? {} : { protocol: protocolNumber };
  if (protocol !== 'ICMP') return { protocol };
  const { family, type, code } = icmp ?? { family: 4 };
  const message = type === undefined ? {} : { icmp: { type, ...(code === undefined ? {} : { code }) } };
  return { protocol: family === 4 ? 'ICMP' : 'ICMPv6', ...message };
}

function peerOf(
  { estate, flow }: Asked,
  direction: Direction,
): ((namespace: string) => CalicoEntityRule) | undefined {
  const { there } = ends(flow, direction);
  const workload = there.type === 'pod' ? workloadOfPod(estate, there.pod) : undefined;
  if (!workload) {
    const block = blockOfEnd(there);
    return block === undefined ? undefined : () => ({ nets: [block] });
  }
  const selector = expression(labelsOf(estate, workload));
  return (namespace) =>
    namespace === workload.namespace
      ? { selector }
      : { selector, namespaceSelector: `${CALICO_NAME} == '${workload.namespace}'` };
}

const expression = (labels: Labels): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key} == '${value}'`)
    .join(' && ') || 'all()';
