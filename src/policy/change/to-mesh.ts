/** What the mesh would need: a rule more that allows, a rule that denies with an exception, or a port without mutual TLS. */
import type {
  AuthorizationPolicy,
  AuthorizationRule,
  IstioOperation,
  IstioSource,
} from '../../api/istio-types.ts';
import type { Workload } from '../analyse/estate.ts';
import { labelsOf, workloadOfPod } from '../analyse/identify.ts';
import type { MeshSide } from '../mesh/side.ts';
import { askedFacts } from '../mesh/decide.ts';
import type { Facts } from '../mesh/facts.ts';
import type { Mesh } from '../mesh/mesh.ts';
import { isInScope } from '../mesh/model.ts';
import { type Asked, baseName, blockOfEnd, httpAsked, metadataFor } from './asked.ts';
import { type Candidate, creating, type Edit, objectOf } from './edit.ts';

/** Of a flow that the mesh denies. */
export function meshCandidates(asked: Asked, side: MeshSide): Candidate[] {
  const { mesh } = asked.scene;
  const { dst } = asked.flow;
  const workload = dst.type === 'pod' ? workloadOfPod(asked.estate, dst.pod) : undefined;
  if (!mesh || !workload || dst.type !== 'pod') return [];
  if (side.reason === 'tls') return tlsCandidates(asked, mesh, workload);
  const named = nameFlow(asked, askedFacts(mesh, mesh.at(dst.pod).enforced, asked.flow));
  if (!named) return [];
  if (side.reason === 'default-deny') return allowing(asked, mesh, workload, named);
  return side.reason === 'rule' && side.rule ? sparing(asked, side.rule, named) : [];
}

/** The flow in the words of rules. */
interface Named {
  readonly source: readonly [field: 'principals' | 'ipBlocks', value: string];
  readonly operation: readonly (readonly [field: 'ports' | 'methods' | 'paths' | 'hosts', value: string])[];
  /** It is a request that no rule says alone: it is not of HTTP, or its path is a pattern. */
  readonly whole?: true;
}

/** Undefined: nothing in a rule tells who sends. */
function nameFlow(asked: Asked, { principal, port, request }: Facts): Named | undefined {
  const block = blockOfEnd(asked.flow.src);
  const isPlain = principal !== undefined && !isPattern(principal);
  if (!isPlain && block === undefined) return undefined;
  const http = httpAsked(asked) && typeof request === 'object' ? request : undefined;
  const path = http && !isPattern(http.path) ? [['paths', http.path] as const] : [];
  const host = http?.host !== undefined && !isPattern(http.host) ? http.host.toLowerCase() : undefined;
  return {
    source: isPlain ? ['principals', principal] : ['ipBlocks', block!],
    operation: [
      ['ports', `${port}`],
      ...(http ? [['methods', http.method] as const] : []),
      ...path,
      ...(host === undefined ? [] : [['hosts', host] as const]),
    ],
    ...(asked.flow.request && path.length === 0 ? { whole: true } : {}),
  };
}

const isPattern = (text: string): boolean => text === '' || /[*{}]/.test(text);

function allowing(asked: Asked, mesh: Mesh, workload: Workload, named: Named): Candidate[] {
  const rule: AuthorizationRule = {
    from: [{ source: { [named.source[0]]: [named.source[1]] } }],
    to: [{ operation: Object.fromEntries(named.operation.map(([field, value]) => [field, [value]])) }],
  };
  const whole = named.whole ? { whole: named.whole } : {};
  const edits: Edit[] = [];
  for (const { ref, scope } of mesh.at(workload.pods[0]!).enforced.allow) {
    const others = asked.estate.world.pods.filter((pod) => isInScope(scope, pod));
    if (ref.namespace === workload.namespace && others.every((pod) => workload.pods.includes(pod)))
      edits.push({ policy: ref, op: 'append', path: 'spec.rules', value: rule });
  }
  const kind = 'AuthorizationPolicy';
  edits.push(
    creating({
      apiVersion: 'security.istio.io/v1',
      kind,
      metadata: metadataFor(
        asked,
        { kind, namespace: workload.namespace },
        baseName(workload, 'ingress', asked.flow),
      ),
      spec: { ...selecting(asked, workload), action: 'ALLOW', rules: [rule] },
    }),
  );
  return edits.map((edit) => ({ edit, ...whole }));
}

function selecting(
  { estate }: Asked,
  workload: Workload,
): { selector?: { matchLabels: Record<string, string> } } {
  const matchLabels = { ...labelsOf(estate, workload) };
  return Object.keys(matchLabels).length > 0 ? { selector: { matchLabels } } : {};
}

/**
 * A rule that denies, with an exception: one rule for whatever is not of this sender, one for what is not on this port,
 * and so on. Together they match what it did, but for this flow.
 */
function sparing({ estate }: Asked, ref: NonNullable<MeshSide['rule']>, named: Named): Candidate[] {
  const object = objectOf(estate.world, ref) as AuthorizationPolicy | undefined;
  const rule = object?.spec?.rules?.[ref.index];
  if (!rule) return [];
  const [field, value] = named.source;
  const rules = [
    {
      ...rule,
      from: listOf(rule.from).map((each) => ({
        source: without<IstioSource>(
          each.source,
          field === 'principals' ? 'notPrincipals' : 'notIpBlocks',
          value,
        ),
      })),
    },
    ...named.operation.map(([name, text]) => ({
      ...rule,
      to: listOf(rule.to).map((each) => ({
        operation: without<IstioOperation>(each.operation, NEGATED[name], text),
      })),
    })),
  ];
  return [
    {
      edit: { policy: ref, op: 'replace', path: ref.path, value: rules },
      ...(named.whole ? { whole: true } : {}),
    },
  ];
}

const NEGATED = { ports: 'notPorts', methods: 'notMethods', paths: 'notPaths', hosts: 'notHosts' } as const;

/** Absent: whoever, whatever. */
const listOf = <T extends object>(list: readonly T[] | undefined): readonly T[] =>
  list && list.length > 0 ? list : [{} as T];

const without = <T extends IstioSource | IstioOperation>(
  part: T | undefined,
  field: keyof T,
  value: string,
): T => ({ ...part, [field]: [...((part?.[field] as string[] | undefined) ?? []), value] }) as T;

/** Of several objects for the same pods the oldest counts, and it alone: it is the one to be changed. */
function tlsCandidates(asked: Asked, mesh: Mesh, workload: Workload): Candidate[] {
  const { port } = asked.flow;
  const { selector } = selecting(asked, workload);
  if (port === undefined || port === 0) return [];
  const own = mesh
    .at(workload.pods[0]!)
    .enforced.tlsObjects.filter(({ scope }) => Object.keys(scope?.labels ?? {}).length > 0);
  const edits: Edit[] = own.map(({ ref }) => ({
    policy: ref,
    op: 'set',
    path: `spec.portLevelMtls[${port}].mode`,
    value: 'PERMISSIVE',
  }));
  const kind = 'PeerAuthentication';
  if (selector && own.length === 0)
    edits.push(
      creating({
        apiVersion: 'security.istio.io/v1',
        kind,
        metadata: metadataFor(
          asked,
          { kind, namespace: workload.namespace },
          baseName(workload, 'ingress', asked.flow),
        ),
        spec: { selector, portLevelMtls: { [`${port}`]: { mode: 'PERMISSIVE' } } },
      }),
    );
  return edits.map((edit) => ({ edit }));
}
