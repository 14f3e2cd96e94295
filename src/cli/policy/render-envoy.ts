/** `heddle policy render --to envoy`: the RBAC filters of each workload that a policy for requests is for. */
import { compareText } from '../../policy/model.ts';
import { buildMesh, type Mesh } from '../../policy/mesh/mesh.ts';
import { type RbacFilters, renderRbac } from '../../policy/mesh/rbac.ts';
import { policyText } from '../../policy/decision.ts';
import type { Estate, WorkloadRef } from '../../policy/analyse/estate.ts';

export interface EnvoyOutput {
  readonly workload: WorkloadRef;
  /** Filters of its inbound listener, in the order in which they are asked. */
  readonly http: RbacFilters;
  readonly tcp: RbacFilters;
}

export interface EnvoyRender {
  readonly workloads: readonly EnvoyOutput[];
  /** A line each. */
  readonly losses: readonly string[];
}

/** Pods of one workload with other labels than its first are another entry of its name. */
export function renderEnvoy({ world, workloads }: Estate): EnvoyRender {
  const mesh = buildMesh(world);
  if (!mesh) return { workloads: [], losses: [] };
  const outputs = workloads.flatMap(({ namespace, name, kind, pods }) => {
    const found = new Map<string, EnvoyOutput>();
    for (const pod of pods.filter(mesh.isMember)) {
      const [http, tcp] = [renderRbac(mesh, pod, 'http'), renderRbac(mesh, pod, 'tcp')];
      if (Object.keys(http).length > 0)
        found.set(JSON.stringify(http), { workload: { namespace, name, kind }, http, tcp });
    }
    return [...found.values()];
  });
  return { workloads: outputs, losses: lossesOf(mesh) };
}

function lossesOf({ peers, authorizations }: Mesh): string[] {
  const tls = peers
    .filter(
      ({ scope, mode, ports }) => scope && (mode ?? [...ports.values()].find((each) => each)) !== undefined,
    )
    .map(
      ({ ref }) =>
        `${policyText(ref)}: mutual TLS is of a listener's filter chains, and no part of these filters`,
    );
  const audited = authorizations
    .filter(({ stage, scope }) => scope && stage === 'audit')
    .map(({ ref }) => `${policyText(ref)}: it is audited, and left out`);
  return [...tls, ...audited].sort(compareText);
}
