/**
 * Whom a selector expression of Calico means. Calico gives every endpoint one set of labels: its own, those of its
 * namespace and service account under prefixes, and some of Calico's. Selectors of all kinds become one expression over
 * that set, and that is split by where the labels come from. Network sets are endpoints too: ranges under labels.
 * (API reference, "EntityRule" and "Selectors"; "Calico automatic labels".)
 */
import type { SelectorExpression } from '../../api/calico-selector.ts';
import { CALICO_NAME, NAMESPACE_NAME } from '../../api/labels.ts';
import type { Labels } from '../../api/selector.ts';
import { type AccountMatch, allOf, anyOf, not, type Peer, type PodPeer, podPeer } from '../peers.ts';
import { everything, type Selector } from '../selector.ts';
import { calicoSelector } from './calico-selector.ts';

export const NAMESPACE = 'projectcalico.org/namespace';
const ACCOUNT = 'projectcalico.org/serviceaccount';
const ORCHESTRATOR = 'projectcalico.org/orchestrator';
const OF_NAMESPACE = 'pcns.';
const OF_ACCOUNT = 'pcsa.';

/** Where labels of a pod come from. */
type Facet = 'pod' | 'namespace' | 'account';

export const all: SelectorExpression = { op: 'all' };

export const both = (parts: readonly SelectorExpression[]): SelectorExpression =>
  parts.length === 0 ? all : parts.length === 1 ? parts[0]! : { op: 'and', of: parts };

/** Of namespaces: `all()` is any namespace, `global()` none. */
export function ofNamespace(expression: SelectorExpression): SelectorExpression {
  const inAny: SelectorExpression = { op: 'has', key: NAMESPACE };
  return rewritten(expression, (leaf) =>
    leaf.op === 'all'
      ? inAny
      : leaf.op === 'global'
        ? { op: 'not', of: inAny }
        : { ...leaf, key: `${OF_NAMESPACE}${leaf.key}` },
  );
}

export const ofAccount = (expression: SelectorExpression): SelectorExpression =>
  rewritten(expression, (leaf) =>
    leaf.op === 'all' || leaf.op === 'global' ? leaf : { ...leaf, key: `${OF_ACCOUNT}${leaf.key}` },
  );

export const inNamespace = (name: string): SelectorExpression => ({
  op: '==',
  key: NAMESPACE,
  value: name,
});

export const withAccounts = (names: readonly string[]): SelectorExpression => ({
  op: 'in',
  key: ACCOUNT,
  values: names,
});

type Leaf = Exclude<SelectorExpression, { readonly of: unknown }>;

function rewritten(of: SelectorExpression, leaf: (leaf: Leaf) => SelectorExpression): SelectorExpression {
  if (!('of' in of)) return leaf(of);
  if (of.op === 'not') return { op: 'not', of: rewritten(of.of, leaf) };
  return { op: of.op, of: of.of.map((each) => rewritten(each, leaf)) };
}

/** A network set as selectors see it. */
export interface LabelledRanges {
  readonly labels: Labels;
  readonly peer: Peer;
}

/** Empty for those of the cluster. */
export function labelsOfSet(namespace: string, labels: Labels, namespaceLabels: Labels): Labels {
  if (namespace === '') return labels;
  const inherited = { ...namespaceLabels, [NAMESPACE_NAME]: namespace, [CALICO_NAME]: namespace };
  return {
    ...Object.fromEntries(Object.entries(inherited).map(([key, value]) => [`${OF_NAMESPACE}${key}`, value])),
    ...labels,
    [NAMESPACE]: namespace,
  };
}

/** Pods and ranges of network sets. */
export function peerOf(expression: SelectorExpression, sets: readonly LabelledRanges[]): Peer {
  const pods = podsOf(expression);
  const { selects } = calicoSelector(expression);
  const ranges = sets.filter(({ labels }) => selects(labels)).map(({ peer }) => peer);
  return ranges.length === 0 ? pods : anyOf([pods, ...ranges]);
}

/** As one peer of pods, which a policy's subject has to be; undefined where the labels' owners are mixed. */
export function subjectOf(expression: SelectorExpression): PodPeer | undefined {
  const { pods, mixed } = split(expression);
  return mixed.length === 0 ? pods : undefined;
}

function podsOf(expression: SelectorExpression): Peer {
  const { pods, mixed } = split(expression);
  if (mixed.length === 0) return pods;
  return allOf([pods, ...mixed.map(ofMixed)]);
}

function ofMixed(expression: SelectorExpression): Peer {
  if (expression.op === 'not') return not(podsOf(expression.of));
  return expression.op === 'or' ? anyOf(expression.of.map(podsOf)) : podsOf(expression);
}

/** What holds of the pods by their labels, of their namespaces and of their accounts; and what is said of several. */
function split(expression: SelectorExpression): { pods: PodPeer; mixed: SelectorExpression[] } {
  const own: Record<Facet, SelectorExpression[]> = { pod: [], namespace: [], account: [] };
  const mixed: SelectorExpression[] = [];
  for (const part of conjuncts(expression)) {
    const facets = new Set(facetsOf(part));
    const [facet = 'pod'] = facets;
    if (facets.size > 1) mixed.push(part);
    else if (part.op !== 'all') own[facet].push(local(part));
  }
  const accounts = accountsOf(own.account);
  return { pods: podPeer(namespaceOf(own.namespace), selectorOf(own.pod), accounts), mixed };
}

const conjuncts = (expression: SelectorExpression): readonly SelectorExpression[] =>
  expression.op === 'and' ? expression.of.flatMap(conjuncts) : [expression];

function facetsOf(expression: SelectorExpression): Facet[] {
  if (expression.op === 'not') return facetsOf(expression.of);
  if ('of' in expression) return expression.of.flatMap(facetsOf);
  return 'key' in expression && expression.key !== ORCHESTRATOR ? [placeOf(expression.key).facet] : [];
}

function placeOf(key: string): { facet: Facet; key: string } {
  if (key === NAMESPACE || key === `${OF_NAMESPACE}${CALICO_NAME}`)
    return { facet: 'namespace', key: NAMESPACE_NAME };
  if (key === ACCOUNT) return { facet: 'account', key: CALICO_NAME };
  if (key.startsWith(OF_NAMESPACE)) return { facet: 'namespace', key: key.slice(OF_NAMESPACE.length) };
  if (key.startsWith(OF_ACCOUNT)) return { facet: 'account', key: key.slice(OF_ACCOUNT.length) };
  return { facet: 'pod', key };
}

/** Over the labels of the one that has them. */
function local(expression: SelectorExpression): SelectorExpression {
  return rewritten(expression, (leaf) => {
    if (!('key' in leaf)) return leaf;
    if (leaf.key !== ORCHESTRATOR) return { ...leaf, key: placeOf(leaf.key).key };
    const holds = calicoSelector(leaf).selects({ [ORCHESTRATOR]: 'k8s' });
    return holds ? all : { op: 'not', of: all };
  });
}

const selectorOf = (parts: readonly SelectorExpression[]): Selector =>
  parts.length === 0 ? everything : calicoSelector(both(parts));

function namespaceOf(parts: readonly SelectorExpression[]): PodPeer['namespace'] {
  const unique = new Map(parts.map((part) => [calicoSelector(part).text, part]));
  const [only] = unique.values();
  if (unique.size === 1 && only?.op === '==' && only.key === NAMESPACE_NAME) return { name: only.value };
  return { selector: selectorOf(parts) };
}

function accountsOf(parts: readonly SelectorExpression[]): AccountMatch | undefined {
  return parts.length === 0 ? undefined : { labels: selectorOf(parts) };
}
