/**
 * Selectors of Cilium over endpoints. An endpoint has the labels of its pod (source k8s), those of its namespace, the
 * namespace's name and the service account under keys of their own; what is no pod has labels of the source reserved.
 */
import {
  ACCOUNT_KEY,
  API_SERVER,
  CLUSTER_KEY,
  CLUSTER_NAME,
  NAMESPACE_KEY,
  NAMESPACE_LABELS_PREFIX,
  NODE_SOURCES,
  parseLabelKey,
  POD_SOURCES,
  RESERVED,
} from '../../api/cilium-words.ts';
import { NAMESPACE_NAME } from '../../api/labels.ts';
import type { LabelSelector, SelectorExpression } from '../../api/selector.ts';
import { parseCidr } from '../../lib/ip.ts';
import {
  type AccountMatch,
  allOf,
  entityPeer,
  nodePeer,
  not,
  outsideBlock,
  type Peer,
  type PodPeer,
  podPeer,
} from '../peers.ts';
import { everything, parseSelector, type Selector } from '../selector.ts';
import { readApiServer, selectsByApiServer } from './cilium-api-server.ts';
import type { Surroundings } from '../world.ts';
import type { Report } from './read.ts';

interface Requirement extends SelectorExpression {
  /** any, k8s, node, reserved. */
  readonly source: string;
  readonly values: readonly string[];
}

/** Undefined if a part cannot be read. */
export function readRequirements(
  selector: LabelSelector,
  path: string,
  sources: readonly string[],
  report: Report,
): Requirement[] | undefined {
  const parsed = parseSelector(selector);
  if (!parsed.ok) {
    report(`${path}.${parsed.path}`, parsed.message);
    return undefined;
  }
  const labels = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({
    at: `${path}.matchLabels`,
    expression: { key, operator: 'In', values: [value] },
  }));
  const expressions = (selector.matchExpressions ?? []).map((expression, i) => ({
    at: `${path}.matchExpressions[${i}].key`,
    expression,
  }));
  const read = [...labels, ...expressions].map(({ at, expression }) => {
    const { source, key } = parseLabelKey(expression.key);
    const problem = keyProblem(source, key, sources);
    if (problem !== undefined) report(at, `"${expression.key}": ${problem}`);
    return problem === undefined
      ? { source, key, operator: expression.operator, values: expression.values ?? [] }
      : undefined;
  });
  const known = read.filter((each) => each !== undefined);
  return known.length < read.length ? undefined : known;
}

function keyProblem(source: string, key: string, sources: readonly string[]): string | undefined {
  if (!sources.includes(source)) return `labels of the source ${source} are not known here`;
  if (source !== 'reserved') return undefined;
  return RESERVED.includes(key) ? undefined : `there is no reserved label ${key}`;
}

/** As a label of which only this is known holds it: `undefined` is a label that is not there. */
function holds({ operator, values }: Requirement, value: string | undefined): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    default:
      return value === undefined;
  }
}

/** What is no pod, by its reserved labels: all that it has. */
const OTHERS: readonly (readonly [labels: readonly string[], peer: Peer])[] = [
  [['world', 'world-ipv4'], outsideBlock(parseCidr('0.0.0.0/0'), [])],
  [['world', 'world-ipv6'], outsideBlock(parseCidr('::/0'), [])],
  [['host'], entityPeer('host')],
  [['remote-node'], entityPeer('remote-node')],
];

/** Pods that requirements hold for; undefined if there can be none. */
interface Pods {
  readonly peer: PodPeer;
  readonly except: readonly PodPeer[];
}

const isNamespaceName = ({ source, key }: Requirement): boolean =>
  source !== 'reserved' && key === NAMESPACE_KEY;
const isNamespaceLabel = ({ source, key }: Requirement): boolean =>
  source !== 'reserved' && key.startsWith(NAMESPACE_LABELS_PREFIX);

const selectorOf = (requirements: readonly SelectorExpression[]): Selector => {
  const parsed = parseSelector({ matchExpressions: requirements });
  // Each requirement has been read already.
  return parsed.ok ? parsed.selector : everything;
};

function podsOf(requirements: readonly Requirement[]): Pods | undefined {
  const onNamespace: SelectorExpression[] = [];
  const onPod: SelectorExpression[] = [];
  const except: PodPeer[] = [];
  let names: readonly string[] | undefined;
  for (const each of requirements) {
    const { source, key, operator, values } = each;
    if (source === 'reserved') {
      if (!holds(each, undefined)) return undefined;
    } else if (key === CLUSTER_KEY) {
      if (!holds(each, CLUSTER_NAME)) return undefined;
    } else if (isNamespaceName(each)) onNamespace.push({ key: NAMESPACE_NAME, operator, values });
    else if (isNamespaceLabel(each))
      onNamespace.push({ key: key.slice(NAMESPACE_LABELS_PREFIX.length), operator, values });
    else if (key !== ACCOUNT_KEY) onPod.push({ key, operator, values });
    else if (operator === 'DoesNotExist') return undefined;
    else if (operator === 'In') names = names?.filter((name) => values.includes(name)) ?? values;
    else if (operator === 'NotIn') except.push(accountPods(values));
  }
  const accounts: AccountMatch | undefined = names && { names };
  return { peer: podPeer(namespaceOf(onNamespace), selectorOf(onPod), accounts), except };
}

const accountPods = (names: readonly string[]): PodPeer =>
  podPeer({ selector: everything }, everything, { names });

/** By its name alone where it is one, which is the faster question. */
function namespaceOf(requirements: readonly SelectorExpression[]): PodPeer['namespace'] {
  const rest = requirements.filter(({ key, operator }) => key !== NAMESPACE_NAME || operator !== 'Exists');
  const [first] = rest;
  if (
    rest.length === 1 &&
    first?.key === NAMESPACE_NAME &&
    first.operator === 'In' &&
    first.values?.length === 1
  )
    return { name: first.values[0]! };
  return { selector: selectorOf(rest) };
}

/** One of a rule's endpoints. @param namespace of the policy, empty if it is for all. */
export function readEndpoints(
  selector: LabelSelector,
  { namespace, surroundings }: { readonly namespace: string; readonly surroundings: Surroundings },
  path: string,
  report: Report,
): Peer[] | undefined {
  const given = readRequirements(selector, path, POD_SOURCES, report);
  if (!given) return undefined;
  const requirements = [...given, ...impliedNamespace(given, namespace)];
  const pods = podsOf(requirements);
  const apiServer = selectsByApiServer(selector) ? readApiServer(surroundings, path, report) : undefined;
  const others = (apiServer ? OTHERS.flatMap((other) => beside(apiServer, other)) : OTHERS).filter(
    ([labels]) =>
      requirements.every((each) =>
        holds(each, each.source === 'reserved' && labels.includes(each.key) ? '' : undefined),
      ),
  );
  return [...(pods ? [withoutExcepted(pods)] : []), ...others.map(([, peer]) => peer)];
}

/** Of the same, those that are the API server and those that are not. */
const beside = (apiServer: Peer, [labels, peer]: (typeof OTHERS)[number]): typeof OTHERS => [
  [[...labels, API_SERVER], allOf([peer, apiServer])],
  [labels, allOf([peer, not(apiServer)])],
];

const withoutExcepted = ({ peer, except }: Pods): Peer =>
  except.length === 0 ? peer : allOf([peer, ...except.map(not)]);

/** Cilium's getEndpointSelector: nothing is implied where namespaces or what is no pod are asked for. */
function impliedNamespace(given: readonly Requirement[], namespace: string): Requirement[] {
  if (given.some((each) => each.source === 'reserved' || isNamespaceName(each))) return [];
  const about = { source: 'k8s', key: NAMESPACE_KEY };
  if (namespace === '') return [{ ...about, operator: 'Exists', values: [] }];
  return given.some(isNamespaceLabel) ? [] : [{ ...about, operator: 'In', values: [namespace] }];
}

/** Of a policy: pods only. Undefined if it cannot be read, or says what cannot be said of pods. */
export function readSubject(
  selector: LabelSelector,
  namespace: string,
  path: string,
  report: Report,
): PodPeer | undefined {
  const own = namespace === '' ? selector : inNamespace(selector, namespace, path, report);
  const requirements = readRequirements(own, path, POD_SOURCES, report);
  if (!requirements) return undefined;
  const pods = podsOf(requirements);
  if (!pods) return noPods;
  if (pods.except.length === 0) return pods.peer;
  report(path, 'service accounts that a policy is not for are not known here: name those that it is for');
  return undefined;
}

/** Selects no pod: no namespace has no name. */
export const noPods: PodPeer = podPeer({ name: '' }, everything);

const OWN_NAMESPACE = `k8s:${NAMESPACE_KEY}`;

/** A label for another namespace is taken for its own, as Cilium takes it; expressions must hold as well. */
function inNamespace(
  selector: LabelSelector,
  namespace: string,
  path: string,
  report: Report,
): LabelSelector {
  const matchLabels = { ...selector.matchLabels, [OWN_NAMESPACE]: namespace };
  const given = selector.matchLabels?.[OWN_NAMESPACE];
  if (given !== undefined && given !== namespace)
    report(`${path}.matchLabels`, `selects in ${given}, but the policy is for pods of ${namespace} alone`);
  return { ...selector, matchLabels };
}

export function readNodes(selector: LabelSelector, path: string, report: Report): Peer[] | undefined {
  const requirements = readRequirements(selector, path, NODE_SOURCES, report);
  return requirements && [nodePeer(selectorOf(requirements))];
}
