/**
 * Lowers a PeerAuthentication (security.istio.io/v1) to the mesh's model. A mode that cannot be read fails closed: it is
 * STRICT.
 */
import type { MutualTls, PeerAuthentication } from '../../api/istio-types.ts';
import { readPortText, ROOT_NAMESPACE } from '../../api/istio-words.ts';
import type { PolicyRef } from '../decision.ts';
import type { PeerTls, TlsMode } from '../mesh/model.ts';
import { type Stage, stageIn } from '../stage.ts';
import type { PolicyProblem } from '../tables.ts';
import { readScope } from './istio-read.ts';
import type { Report } from './read.ts';

const MODES: readonly TlsMode[] = ['DISABLE', 'PERMISSIVE', 'STRICT'];

export function lowerPeerAuthentication(
  { metadata, spec = {} }: PeerAuthentication,
  inherited?: Stage,
): PeerTls {
  const ref: PolicyRef = {
    kind: 'PeerAuthentication',
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
  };
  const problems: PolicyProblem[] = [];
  const report: Report = (path, message) => problems.push({ policy: ref, path, message });
  const scope = readScope(spec.selector, ref.namespace, report);
  const selects = Object.keys(scope?.labels ?? {}).length > 0;
  const misplaced = selects && ref.namespace === ROOT_NAMESPACE;
  if (misplaced)
    report(
      'spec.selector',
      `in ${ROOT_NAMESPACE} it is for the whole mesh; pods are selected in their namespace`,
    );
  const created = Date.parse(metadata.creationTimestamp ?? '');
  return {
    ref,
    stage: stageIn(metadata.labels) ?? inherited ?? 'enforce',
    scope: misplaced ? undefined : scope,
    created: Number.isNaN(created) ? Number.POSITIVE_INFINITY : created,
    mode: readMode(spec.mtls, 'spec.mtls', report),
    ports: readPorts(spec.portLevelMtls, selects, report),
    problems,
  };
}

function readMode(mtls: MutualTls | undefined, path: string, report: Report): TlsMode | undefined {
  const { mode = 'UNSET' } = mtls ?? {};
  if (mode === 'UNSET') return undefined;
  const known = MODES.find((each) => each === mode);
  if (!known)
    report(`${path}.mode`, `"${mode}" is none of UNSET, ${MODES.join(', ')}; it is taken as STRICT`);
  return known ?? 'STRICT';
}

function readPorts(
  ports: Record<string, MutualTls> | undefined,
  selects: boolean,
  report: Report,
): PeerTls['ports'] {
  const found = new Map<number, TlsMode | undefined>();
  if (ports && !selects) {
    report('spec.portLevelMtls', 'is for pods that a selector names');
    return found;
  }
  for (const [text, mtls] of Object.entries(ports ?? {})) {
    const path = `spec.portLevelMtls[${text}]`;
    const port = readPortText(text);
    if (!port) report(path, `"${text}" is not a port from 1 to 65535`);
    else found.set(port, readMode(mtls, path, report));
  }
  return found;
}
