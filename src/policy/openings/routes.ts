/** What routes of the Gateway API open: their backends, at each listener of a Gateway that they are attached to. */
import type { KubeObject } from '../../api/types.ts';
import { attachments, type GatewayObject, type ParentRef } from './attach.ts';
import type { Opened, OpenedBy, OpenerRef, Unopened } from './opened.ts';

interface BackendRef {
  group?: string;
  kind?: string;
  name?: string;
  namespace?: string;
  port?: number;
  weight?: number;
}

interface RouteRule {
  matches?: { path?: { type?: string; value?: string } }[];
  backendRefs?: BackendRef[];
  filters?: { type?: string; requestMirror?: { backendRef?: BackendRef } }[];
}

export interface RouteObject extends KubeObject {
  spec?: { parentRefs?: ParentRef[]; hostnames?: string[]; rules?: RouteRule[] };
}

export interface GrantObject extends KubeObject {
  spec?: {
    from?: { group?: string; kind?: string; namespace?: string }[];
    to?: { group?: string; kind?: string; name?: string }[];
  };
}

export interface Surroundings {
  readonly gateways: readonly GatewayObject[];
  readonly grants: readonly GrantObject[];
  /** Labels of a namespace. */
  labelsOf(namespace: string): Readonly<Record<string, string>>;
}

export function openedByRoute(route: RouteObject, around: Surroundings): OpenedBy {
  const { kind, metadata, spec = {} } = route;
  const namespace = metadata.namespace ?? 'default';
  const ref = { kind, namespace, name: metadata.name };
  const { attached, refused } = attachments(route, around);
  const unopened: Unopened[] = refused.map(({ path, message }) => ({ by: { ...ref, path }, message }));
  const opened: Opened[] = [];
  if (attached.length === 0) return { opened, unopened };

  function add(path: string, what: string, backend: BackendRef): void {
    const by = { ...ref, path };
    const why = notServed(backend, by, around.grants);
    if (why !== undefined) {
      unopened.push({ by, message: why });
      return;
    }
    const service = { namespace: backend.namespace ?? namespace, name: backend.name ?? '' };
    for (const { gateway, entry } of attached)
      opened.push({
        by,
        entry: [entry, what].filter(Boolean).join(' '),
        sender: { type: 'gateway', ...gateway },
        service,
        port: backend.port ?? null,
        protocol: kind === 'UDPRoute' ? 'UDP' : 'TCP',
      });
  }

  for (const [i, rule] of (spec.rules ?? []).entries()) {
    const what = pathsText(rule);
    for (const [j, backend] of (rule.backendRefs ?? []).entries())
      add(`spec.rules[${i}].backendRefs[${j}]`, what, backend);
    for (const [j, { requestMirror }] of (rule.filters ?? []).entries())
      if (requestMirror?.backendRef)
        add(
          `spec.rules[${i}].filters[${j}].requestMirror.backendRef`,
          `${what} (a copy)`.trim(),
          requestMirror.backendRef,
        );
  }
  return { opened, unopened };
}

const pathsText = ({ matches = [] }: RouteRule): string => {
  const paths = matches.flatMap(({ path }) => path?.value ?? []);
  return paths.length > 0 ? `path ${paths.join(', ')}` : '';
};

function notServed(backend: BackendRef, by: OpenerRef, grants: readonly GrantObject[]): string | undefined {
  const { group = '', kind = 'Service', name, namespace = by.namespace, weight } = backend;
  if (group !== '' || kind !== 'Service') return `its backend is a ${kind}, no Service`;
  if (name === undefined) return 'its backend has no name';
  if (weight === 0) return 'its weight is 0: nothing is sent there';
  if (namespace !== by.namespace && !grants.some((grant) => permits(grant, by, namespace, name)))
    return `no ReferenceGrant in namespace ${namespace} lets ${by.kind === 'HTTPRoute' ? 'an' : 'a'} ${by.kind} of ${by.namespace} name Service ${name}`;
  return undefined;
}

/** A grant is in the namespace of what may be named. */
function permits(grant: GrantObject, by: OpenerRef, namespace: string, service: string): boolean {
  const { from = [], to = [] } = grant.spec ?? {};
  return (
    (grant.metadata.namespace ?? 'default') === namespace &&
    from.some(
      (each) =>
        each.group === 'gateway.networking.k8s.io' &&
        each.kind === by.kind &&
        each.namespace === by.namespace,
    ) &&
    to.some(
      ({ group = '', kind, name }) =>
        group === '' && kind === 'Service' && (name === undefined || name === service),
    )
  );
}
