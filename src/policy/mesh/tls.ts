/** Whether the proxy of a pod asks for mutual TLS: PeerAuthentication, from the mesh to a port. */
import { ROOT_NAMESPACE } from '../../api/istio-words.ts';
import type { PolicyRef, RuleRef } from '../decision.ts';
import type { WorldPod } from '../world.ts';
import { compareRefs, isInScope, type PeerTls, type TlsMode } from './model.ts';

export interface PortTls {
  readonly mode: TlsMode;
  /** Where it is written; undefined: nowhere, so it is PERMISSIVE. */
  readonly by?: RuleRef | undefined;
}

/** Of the objects for the same pods the oldest counts, and it alone. */
export function tlsOf(objects: readonly PeerTls[], pod: WorldPod): (port: number) => PortTls {
  const mine = objects.filter(({ scope }) => isInScope(scope, pod)).sort(byAge);
  const isWide = ({ scope }: PeerTls) => Object.keys(scope?.labels ?? {}).length === 0;
  const isRoot = ({ ref }: PeerTls) => ref.namespace === ROOT_NAMESPACE;
  const mesh = mine.find((each) => isWide(each) && isRoot(each));
  const namespace = mine.find((each) => isWide(each) && !isRoot(each));
  const workload = mine.find((each) => !isWide(each));
  const whole = [workload, namespace, mesh].find((each) => each?.mode !== undefined);
  const elsewhere: PortTls = whole?.mode
    ? { mode: whole.mode, by: tlsRef(whole.ref, 'mtls') }
    : { mode: 'PERMISSIVE' };
  const byPort = new Map<number, PortTls>();
  for (const [port, mode] of workload?.ports ?? [])
    if (workload && mode) byPort.set(port, { mode, by: tlsRef(workload.ref, `portLevelMtls[${port}]`) });
  return (port) => byPort.get(port) ?? elsewhere;
}

const byAge = (a: PeerTls, b: PeerTls): number =>
  Number(a.created > b.created) - Number(a.created < b.created) || compareRefs(a.ref, b.ref);

const tlsRef = (ref: PolicyRef, field: string): RuleRef => ({
  ...ref,
  direction: 'ingress',
  index: 0,
  path: `spec.${field}.mode`,
});
