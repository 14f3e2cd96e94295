/** The answer to the mesh question. */
import type { Outcome, PolicyRef, RuleRef } from '../decision.ts';
import type { PortTls } from './tls.ts';

export type MeshReason =
  /** The destination is no pod, or has no proxy. */
  | 'not-in-mesh'
  /** Proxies take TCP alone. */
  | 'not-tcp'
  | 'self'
  | 'own-node'
  /** No AuthorizationPolicy that decides is for the pod. */
  | 'no-policy'
  /** Some are, but none that allows, and none denies this. */
  | 'no-rule'
  /** Without the mutual TLS that is asked for. `rule` is where. */
  | 'tls'
  /** An authorizer outside says no, or there are several of which none is asked. `rule` is the CUSTOM one. */
  | 'custom'
  | 'rule'
  | 'default-deny';

export interface MeshSide extends Outcome {
  readonly reason: MeshReason;
  /** What holds at this port; undefined where there is no proxy. */
  readonly tls?: PortTls | undefined;
  /** Of a default deny: the policies that allow, none of them this. */
  readonly closedBy?: readonly PolicyRef[] | undefined;
  /** Passes as a connection; of the requests on it some rules match some. `rule` is the first that may allow. */
  readonly redirect?: true | undefined;
  /** Rules that hand this to an authorizer outside, which is taken to allow what it is not known to deny. */
  readonly asks?: readonly { readonly provider: string; readonly rule: RuleRef }[] | undefined;
  /** AUDIT rules that match. */
  readonly logged?: readonly RuleRef[] | undefined;
  /** What it would be if everything audited were enforced; the same where nothing is. */
  readonly audit: Outcome;
}
