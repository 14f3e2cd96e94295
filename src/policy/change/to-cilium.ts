/** What Cilium's policies would have to say more: a rule for the peer, the port and the request, or the request alone. */
import type { CiliumNetworkPolicy } from '../../api/cilium-policy-types.ts';
import { KAFKA_KEYS, NAMESPACE_KEY } from '../../api/cilium-words.ts';
import { labelsOf, selectorOfLabels, workloadOfPod } from '../analyse/identify.ts';
import { ends } from '../decide.ts';
import type { Direction, PolicyRef, Side } from '../decision.ts';
import type { NearMiss } from '../explain.ts';
import { httpOf, type KafkaRequest, type Request } from '../request.ts';
import type { End } from '../scene.ts';
import { type Asked, baseName, blockOfEnd, metadataFor, workloadAt } from './asked.ts';
import { type Candidate, creating, type Edit } from './edit.ts';

const isCilium = ({ kind }: PolicyRef): boolean =>
  kind === 'CiliumNetworkPolicy' || kind === 'CiliumClusterwideNetworkPolicy';

export function ciliumCandidates(
  asked: Asked,
  direction: Direction,
  side: Side,
  near: readonly NearMiss[],
): Candidate[] {
  const { flow } = asked;
  const workload = workloadAt(asked, direction);
  const denying = side.reason === 'request' ? (side.rule ? [side.rule] : []) : (side.closedBy ?? []);
  const own = denying.filter(isCilium);
  if (own.length === 0 || !workload || side.reason === 'rule') return [];
  const said = requestOf(flow.request, direction);
  const whole = flow.request && !said ? { whole: true as const } : {};
  const edits: Edit[] = [];
  for (const { rule, missed } of near)
    if (missed === 'request' && isCilium(rule) && said && rule.path.includes('.toPorts['))
      edits.push({ policy: rule, op: 'append', path: `${rule.path}.rules.${said.kind}`, value: said.rule });
  // What denies requests need not close the direction: there a rule of the object would be where it is written.
  for (const ref of side.reason === 'default-deny' ? own : []) {
    const rule = ruleOf(asked, direction, ref.namespace, said);
    if (rule)
      edits.push({ policy: ref, op: 'append', path: `${ref.part ?? 'spec'}.${direction}`, value: rule });
  }
  const rule = ruleOf(asked, direction, workload.namespace, said);
  if (rule)
    edits.push(
      creating({
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumNetworkPolicy',
        metadata: metadataFor(
          asked,
          { kind: 'CiliumNetworkPolicy', namespace: workload.namespace },
          baseName(workload, direction, flow),
        ),
        spec: {
          endpointSelector: selectorOfLabels(labelsOf(asked.estate, workload)),
          [direction]: [rule],
          ...(side.isolated ? {} : { enableDefaultDeny: { [direction]: false } }),
        },
      } as unknown as CiliumNetworkPolicy),
    );
  return edits.map((edit) => ({ edit, ...whole }));
}

interface Said {
  readonly kind: 'http' | 'dns' | 'kafka';
  readonly rule: object;
}

/** Undefined: no rule of Cilium's can say it. */
function requestOf(request: Request | undefined, direction: Direction): Said | undefined {
  if (!request) return undefined;
  if (request.type === 'dns')
    return direction === 'egress'
      ? { kind: 'dns', rule: { matchName: request.name.toLowerCase().replace(/\.$/, '') } }
      : undefined;
  if (request.type === 'kafka') return kafkaOf(request);
  const http = httpOf(request);
  if (!http) return undefined;
  const { method, path, host } = http;
  const rule = { method: literal(method), path: literal(path), ...(host ? { host: literal(host) } : {}) };
  return { kind: 'http', rule };
}

function kafkaOf({ apiKey, apiVersion, topic, clientId }: KafkaRequest): Said | undefined {
  const key = apiKey.toLowerCase();
  if (!Object.hasOwn(KAFKA_KEYS, key)) return undefined;
  const rule = {
    apiKey: key,
    ...(apiVersion === undefined ? {} : { apiVersion: `${apiVersion}` }),
    ...(topic === undefined ? {} : { topic }),
    ...(clientId === undefined ? {} : { clientID: clientId }),
  };
  return { kind: 'kafka', rule };
}

/** Texts of these rules are expressions. */
const literal = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);

function ruleOf(asked: Asked, direction: Direction, namespace: string, said: Said | undefined) {
  const peers = peersOf(asked, ends(asked.flow, direction).there, direction, namespace);
  const ports = portsOf(asked, said);
  return peers && ports && { ...peers, ...ports };
}

/** @param namespace that of the policy; empty: it is for all of them */
function peersOf({ estate }: Asked, there: End, direction: Direction, namespace: string): object | undefined {
  const side = direction === 'ingress' ? 'from' : 'to';
  const block = blockOfEnd(there);
  if (there.type === 'outside') return { [`${side}CIDR`]: [block] };
  const workload = there.type === 'pod' ? workloadOfPod(estate, there.pod) : undefined;
  if (!workload) return undefined;
  const labels = labelsOf(estate, workload);
  const of: Record<string, string> =
    workload.namespace === namespace ? {} : { [`k8s:${NAMESPACE_KEY}`]: workload.namespace };
  return { [`${side}Endpoints`]: [selectorOfLabels({ ...labels, ...of })] };
}

/** Undefined: what has neither ports nor a known type cannot be named alone. */
function portsOf({ flow }: Asked, said: Said | undefined): object | undefined {
  const { protocol, port, icmp } = flow;
  if (protocol === 'ICMP')
    return icmp?.type === undefined
      ? undefined
      : { icmps: [{ fields: [{ family: icmp.family === 4 ? 'IPv4' : 'IPv6', type: icmp.type }] }] };
  if (port === undefined || port === 0) return undefined;
  const ports = [{ port: `${port}`, protocol }];
  return { toPorts: [{ ports, ...(said ? { rules: { [said.kind]: [said.rule] } } : {}) }] };
}
