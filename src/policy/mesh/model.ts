/** What the objects of security.istio.io say, as the mesh question asks it. */
import type { TemplatePart } from '../../api/istio-words.ts';
import type { Labels } from '../../api/selector.ts';
import type { Cidr } from '../../lib/ip.ts';
import type { PolicyRef, RuleRef } from '../decision.ts';
import { compareText } from '../model.ts';
import type { Stage } from '../stage.ts';
import type { PolicyProblem } from '../tables.ts';

export type MeshAction = 'CUSTOM' | 'DENY' | 'ALLOW' | 'AUDIT';

export interface Authorization {
  readonly ref: PolicyRef;
  readonly stage: Stage;
  /** Undefined: it is for nobody. */
  readonly scope: Scope | undefined;
  readonly action: MeshAction;
  /** Of CUSTOM; else empty. */
  readonly provider: string;
  readonly rules: readonly MeshRule[];
  readonly problems: readonly PolicyProblem[];
}

export interface Scope {
  /** Null: every one. */
  readonly namespace: string | null;
  /** All of them; empty: every pod. */
  readonly labels: Labels;
}

export interface MeshRule {
  readonly ref: RuleRef;
  /** Any of them, each of them all of its conditions. Null: whoever. */
  readonly sources: readonly (readonly Condition[])[] | null;
  /** Likewise. */
  readonly operations: readonly (readonly Condition[])[] | null;
  /** All of them. */
  readonly conditions: readonly Condition[];
}

/** One attribute: any of `values` if there are some, and none of `notValues`. */
export type Condition =
  | Test<'principal' | 'namespace' | 'sni' | 'method' | 'host', TextPattern>
  | (Test<'header', TextPattern> & { /** In lower case. */ readonly name: string })
  | (Test<'claim', TextPattern> & { /** Outermost first. */ readonly names: readonly string[] })
  | Test<'path', PathPattern>
  | Test<'request-principal', RequestPrincipal>
  | Test<'account', Account>
  | Test<'source-ip' | 'remote-ip' | 'destination-ip', Cidr>
  | Test<'destination-port', number>;

interface Test<Attribute, Value> {
  readonly attribute: Attribute;
  readonly values: readonly Value[];
  readonly notValues: readonly Value[];
}

export type TextPattern =
  | { readonly how: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  /** Not empty; of a header: that it is there. */
  | { readonly how: 'present' };

export type PathPattern = TextPattern | { readonly how: 'template'; readonly parts: readonly TemplatePart[] };

/** Of a token: who gave it, and to whom. */
export interface RequestPrincipal {
  readonly issuer: TextPattern;
  readonly subject: TextPattern;
}

export interface Account {
  readonly namespace: string;
  readonly name: string;
}

/** What only HTTP has. */
const OF_HTTP: ReadonlySet<Condition['attribute']> = new Set([
  'method',
  'host',
  'path',
  'header',
  'claim',
  'request-principal',
]);

export const isOfHttp = ({ attribute }: Condition): boolean => OF_HTTP.has(attribute);

export const conditionsOf = ({ sources, operations, conditions }: MeshRule): Condition[] => [
  ...(sources ?? []).flat(),
  ...(operations ?? []).flat(),
  ...conditions,
];

export type TlsMode = 'DISABLE' | 'PERMISSIVE' | 'STRICT';

export interface PeerTls {
  readonly ref: PolicyRef;
  readonly stage: Stage;
  /** Undefined: it is for nobody. */
  readonly scope: Scope | undefined;
  /** Milliseconds since the epoch: of several for the same pods the oldest counts. Infinity: not known. */
  readonly created: number;
  /** Undefined: as the next wider one. */
  readonly mode: TlsMode | undefined;
  /** Likewise: as the object's own mode. */
  readonly ports: ReadonlyMap<number, TlsMode | undefined>;
  readonly problems: readonly PolicyProblem[];
}

export const compareRefs = (a: PolicyRef, b: PolicyRef): number =>
  compareText(a.namespace, b.namespace) || compareText(a.name, b.name);

export function isInScope(
  scope: Scope | undefined,
  pod: { readonly namespace: string; readonly labels: Labels },
): boolean {
  if (!scope || (scope.namespace !== null && scope.namespace !== pod.namespace)) return false;
  return Object.entries(scope.labels).every(([key, value]) => pod.labels[key] === value);
}
