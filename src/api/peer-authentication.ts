/** PeerAuthentication, `security.istio.io/v1`, checked as Istio checks it. */
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { forbidden, invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import type { MutualTls, PeerAuthentication } from './istio-types.ts';
import { MODES, readPortText, ROOT_NAMESPACE } from './istio-words.ts';
import { PEER_AUTHENTICATION } from './kinds.ts';
import { validateWorkloadSelector } from './workload-selector.ts';

function* validateMode({ mode = 'UNSET' }: MutualTls, at: string): Problems {
  if (!MODES.some((known) => known === mode)) yield notSupported(`${at}.mode`, mode, MODES);
}

function* validate({ metadata, spec = {} }: PeerAuthentication): Problems {
  const { selector, mtls, portLevelMtls } = spec;
  const ports = Object.entries(portLevelMtls ?? {});
  const selects = Object.keys(selector?.matchLabels ?? {}).length > 0;
  yield* validateWorkloadSelector(selector, 'spec.selector');
  if (selects && metadata.namespace === ROOT_NAMESPACE)
    yield forbidden(
      'spec.selector',
      `in ${ROOT_NAMESPACE} it is for the whole mesh; one for some pods belongs in their namespace`,
    );
  if (mtls) yield* validateMode(mtls, 'spec.mtls');
  if (portLevelMtls && ports.length === 0) yield required('spec.portLevelMtls', 'at least one port');
  if (ports.length > 0 && !selects)
    yield forbidden('spec.portLevelMtls', 'mesh/namespace peer authentication cannot have port level mTLS');
  for (const [port, each] of ports) {
    const at = `spec.portLevelMtls[${port}]`;
    if (!readPortText(port)) yield invalid(at, port, 'must be a port from 1 to 65535');
    yield* validateMode(each, at);
  }
}

export const peerAuthentication = define<PeerAuthentication>({
  kind: PEER_AUTHENTICATION,
  singular: 'peerauthentication',
  shortNames: ['pa'],
  categories: ['istio-io', 'security-istio-io'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Mode', 'Whether mutual TLS is asked for.', ({ spec }) => spec?.mtls?.mode ?? ''),
    ageColumn,
  ],
  validate,
  *warnings() {
    yield 'PeerAuthentication is stored and not enforced yet: no proxy asks it; heddle policy answers by it';
  },
});
