/** The objects that the mesh question reads. */
import type { AuthorizationPolicy, PeerAuthentication } from '../../api/istio-types.ts';

export type MeshObject = AuthorizationPolicy | PeerAuthentication;

export const isMeshKind = (kind: string | undefined): kind is MeshObject['kind'] =>
  kind === 'AuthorizationPolicy' || kind === 'PeerAuthentication';
