/**
 * Lowers an AuthorizationPolicy (security.istio.io/v1) to the mesh's model. A rule with a part that cannot be read fails
 * closed: one that allows matches nothing; of any other that part is as if it were not there, so that it matches more.
 */
import type {
  AuthorizationPolicy,
  AuthorizationRule,
  IstioCondition,
  IstioOperation,
  IstioSource,
} from '../../api/istio-types.ts';
import { DRY_RUN, isPathTemplate, readConditionKey, readPathTemplate } from '../../api/istio-words.ts';
import type { PolicyRef } from '../decision.ts';
import type { Authorization, Condition, MeshAction, MeshRule, PathPattern } from '../mesh/model.ts';
import { readRequestPrincipal, readText } from '../mesh/patterns.ts';
import { type Stage, stageIn } from '../stage.ts';
import type { PolicyProblem } from '../tables.ts';
import { accountReader, type Lists, readBlock, readMeshPort, readScope, readTest } from './istio-read.ts';
import type { Report } from './read.ts';

const ACTIONS: readonly MeshAction[] = ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'];

export function lowerAuthorizationPolicy(object: AuthorizationPolicy, inherited?: Stage): Authorization {
  const { metadata, spec = {} } = object;
  const ref: PolicyRef = {
    kind: 'AuthorizationPolicy',
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
  };
  const problems: PolicyProblem[] = [];
  const report: Report = (path, message) => problems.push({ policy: ref, path, message });
  const base = { ref, stage: stageOf(object, inherited), problems };
  const scope = readTarget(ref, spec, report);
  const action = ACTIONS.find((known) => known === (spec.action || 'ALLOW'));
  if (!action) {
    report('spec.action', `"${spec.action}" is none of ${ACTIONS.join(', ')}; it denies everything`);
    const everything = { ref: ruleRef(ref, 0), sources: null, operations: null, conditions: [] };
    return { ...base, scope, action: 'DENY', provider: '', rules: [everything] };
  }
  const provider = action === 'CUSTOM' ? (spec.provider?.name ?? '') : '';
  if (action === 'CUSTOM' && provider === '') report('spec.provider.name', 'is missing');
  const rules = (spec.rules ?? []).flatMap((rule, i) => lowerRule(ref, action, rule, i, report) ?? []);
  return { ...base, scope, action, provider, rules };
}

function stageOf({ metadata }: AuthorizationPolicy, inherited: Stage | undefined): Stage {
  // As Go reads truth.
  const dryRun = /^(1|t|T|true|TRUE|True)$/.test(metadata.annotations?.[DRY_RUN] ?? '') ? 'audit' : undefined;
  return stageIn(metadata.labels) ?? dryRun ?? inherited ?? 'enforce';
}

function readTarget(ref: PolicyRef, spec: NonNullable<AuthorizationPolicy['spec']>, report: Report) {
  const target = spec.targetRef ? 'targetRef' : (spec.targetRefs ?? []).length > 0 ? 'targetRefs' : undefined;
  if (target === undefined) return readScope(spec.selector, ref.namespace, report);
  report(`spec.${target}`, 'there is no gateway and no waypoint yet that a policy could be attached to');
  return undefined;
}

const ruleRef = (ref: PolicyRef, index: number) => ({
  ...ref,
  direction: 'ingress' as const,
  index,
  path: `spec.rules[${index}]`,
});

function lowerRule(
  policy: PolicyRef,
  action: MeshAction,
  rule: AuthorizationRule,
  index: number,
  report: Report,
): MeshRule | undefined {
  const ref = ruleRef(policy, index);
  const { path } = ref;
  let unread = false;
  const note: Report = (at, message) => {
    unread = true;
    report(at, message);
  };
  const sources = (rule.from ?? []).map(({ source = {} }, i) =>
    readSource(source, policy.namespace, `${path}.from[${i}].source`, note),
  );
  const operations = (rule.to ?? []).map(({ operation = {} }, i) =>
    readOperation(operation, `${path}.to[${i}].operation`, note),
  );
  const conditions = (rule.when ?? []).flatMap((each, i) =>
    readCondition(each, policy.namespace, `${path}.when[${i}]`, note),
  );
  if (unread && action === 'ALLOW') return undefined;
  const orAny = <T>(list: T[]) => (list.length === 0 ? null : list);
  return { ref, sources: orAny(sources), operations: orAny(operations), conditions };
}

function readSource(source: IstioSource, namespace: string, path: string, report: Report): Condition[] {
  const lists = (name: keyof IstioSource, not: keyof IstioSource): Lists => ({
    values: [source[name], `${path}.${name}`],
    notValues: [source[not], `${path}.${not}`],
  });
  const account = accountReader(namespace);
  return [
    ...readTest(lists('principals', 'notPrincipals'), readText, report).map(
      (test) => ({ attribute: 'principal', ...test }) as const,
    ),
    ...readTest(lists('requestPrincipals', 'notRequestPrincipals'), readRequestPrincipal, report).map(
      (test) => ({ attribute: 'request-principal', ...test }) as const,
    ),
    ...readTest(lists('namespaces', 'notNamespaces'), readText, report).map(
      (test) => ({ attribute: 'namespace', ...test }) as const,
    ),
    ...readTest(lists('serviceAccounts', 'notServiceAccounts'), account, report).map(
      (test) => ({ attribute: 'account', ...test }) as const,
    ),
    ...readTest(lists('ipBlocks', 'notIpBlocks'), readBlock, report).map(
      (test) => ({ attribute: 'source-ip', ...test }) as const,
    ),
    ...readTest(lists('remoteIpBlocks', 'notRemoteIpBlocks'), readBlock, report).map(
      (test) => ({ attribute: 'remote-ip', ...test }) as const,
    ),
  ];
}

function readOperation(operation: IstioOperation, path: string, report: Report): Condition[] {
  const lists = (name: keyof IstioOperation, not: keyof IstioOperation): Lists => ({
    values: [operation[name], `${path}.${name}`],
    notValues: [operation[not], `${path}.${not}`],
  });
  const host = (text: string) => readText(text.toLowerCase());
  return [
    ...readTest(lists('ports', 'notPorts'), readMeshPort, report).map(
      (test) => ({ attribute: 'destination-port', ...test }) as const,
    ),
    ...readTest(lists('hosts', 'notHosts'), host, report).map(
      (test) => ({ attribute: 'host', ...test }) as const,
    ),
    ...readTest(lists('methods', 'notMethods'), readText, report).map(
      (test) => ({ attribute: 'method', ...test }) as const,
    ),
    ...readTest(lists('paths', 'notPaths'), readPath, report).map(
      (test) => ({ attribute: 'path', ...test }) as const,
    ),
  ];
}

function readPath(text: string): PathPattern | string {
  if (!isPathTemplate(text)) return readText(text);
  const parts = readPathTemplate(text);
  return typeof parts === 'string' ? parts : { how: 'template', parts };
}

function readCondition(
  { key = '', values, notValues }: IstioCondition,
  namespace: string,
  path: string,
  report: Report,
): Condition[] {
  const read = readConditionKey(key);
  if (typeof read === 'string') {
    report(`${path}.key`, `"${key}" ${read}`);
    return [];
  }
  if ((values ?? []).length + (notValues ?? []).length === 0) report(path, 'needs values or notValues');
  const lists: Lists = { values: [values, `${path}.values`], notValues: [notValues, `${path}.notValues`] };
  const texts = () => readTest(lists, readText, report);
  const blocks = () => readTest(lists, readBlock, report);
  switch (read.attribute) {
    case 'request.headers':
      return texts().map((test) => ({ attribute: 'header', name: read.name, ...test }));
    case 'request.auth.claims':
      return texts().map((test) => ({ attribute: 'claim', names: read.names, ...test }));
    case 'request.auth.audiences':
      return texts().map((test) => ({ attribute: 'claim', names: ['aud'], ...test }));
    case 'request.auth.presenter':
      return texts().map((test) => ({ attribute: 'claim', names: ['azp'], ...test }));
    case 'request.auth.principal':
      return readTest(lists, readRequestPrincipal, report).map((test) => ({
        attribute: 'request-principal',
        ...test,
      }));
    case 'source.principal':
      return texts().map((test) => ({ attribute: 'principal', ...test }));
    case 'source.namespace':
      return texts().map((test) => ({ attribute: 'namespace', ...test }));
    case 'source.serviceAccount':
      return readTest(lists, accountReader(namespace), report).map((test) => ({
        attribute: 'account',
        ...test,
      }));
    case 'source.ip':
      return blocks().map((test) => ({ attribute: 'source-ip', ...test }));
    case 'remote.ip':
      return blocks().map((test) => ({ attribute: 'remote-ip', ...test }));
    case 'destination.ip':
      return blocks().map((test) => ({ attribute: 'destination-ip', ...test }));
    case 'destination.port':
      return readTest(lists, readMeshPort, report).map((test) => ({
        attribute: 'destination-port',
        ...test,
      }));
    default:
      return texts().map((test) => ({ attribute: 'sni', ...test }));
  }
}
