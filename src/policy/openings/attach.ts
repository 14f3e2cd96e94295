/** Which listeners of which Gateways a route is attached to. Gateway API, ParentReference and AllowedRoutes. */
import type { LabelSelector } from '../../api/selector.ts';
import type { KubeObject } from '../../api/types.ts';
import { parseSelector } from '../selector.ts';
import type { RouteObject, Surroundings } from './routes.ts';

export interface ParentRef {
  group?: string;
  kind?: string;
  namespace?: string;
  name?: string;
  sectionName?: string;
  port?: number;
}

interface Listener {
  name?: string;
  hostname?: string;
  port?: number;
  protocol?: string;
  allowedRoutes?: {
    namespaces?: { from?: string; selector?: LabelSelector };
    kinds?: { group?: string; kind?: string }[];
  };
}

export interface GatewayObject extends KubeObject {
  spec?: { gatewayClassName?: string; listeners?: Listener[] };
}

export interface Attachments {
  readonly attached: readonly {
    readonly gateway: { readonly namespace: string; readonly name: string };
    /** `Gateway infra/main listener web (80 HTTP) host shop.example` */
    readonly entry: string;
  }[];
  readonly refused: readonly { readonly path: string; readonly message: string }[];
}

const PROTOCOLS: Readonly<Record<string, readonly string[]>> = {
  HTTPRoute: ['HTTP', 'HTTPS'],
  GRPCRoute: ['HTTP', 'HTTPS'],
  TLSRoute: ['TLS'],
  TCPRoute: ['TCP', 'TLS'],
  UDPRoute: ['UDP'],
};

/** A Gateway that was not read is believed to take the route. Parents that are Services are the mesh's, and no opening. */
export function attachments(route: RouteObject, { gateways, labelsOf }: Surroundings): Attachments {
  const own = route.metadata.namespace ?? 'default';
  const attached: Attachments['attached'][number][] = [];
  const refused: Attachments['refused'][number][] = [];
  const hosts = route.spec?.hostnames ?? [];
  for (const [i, parent] of (route.spec?.parentRefs ?? []).entries()) {
    const { kind = 'Gateway', namespace = own, name = '' } = parent;
    const path = `spec.parentRefs[${i}]`;
    if (kind === 'Service') continue;
    if (kind !== 'Gateway') {
      refused.push({ path, message: `its parent is a ${kind}, which is not read` });
      continue;
    }
    const gateway = { namespace, name };
    const title = `Gateway ${namespace}/${name}`;
    const found = gateways.find(
      ({ metadata }) => (metadata.namespace ?? 'default') === namespace && metadata.name === name,
    );
    if (!found) {
      attached.push({ gateway, entry: `${title} (not read)${hostText(hosts)}` });
      continue;
    }
    const listeners = (found.spec?.listeners ?? []).map((listener) => ({
      listener,
      why: refusal(listener, parent, route, { gateway, labelsOf }),
    }));
    const taken = listeners.filter(({ why }) => why === undefined);
    for (const { listener } of taken)
      attached.push({
        gateway,
        entry: `${title} listener ${listenerText(listener)}${hostText(common(hosts, listener.hostname))}`,
      });
    if (taken.length === 0)
      refused.push({
        path,
        message: `no listener of ${title} takes it: ${listeners.map(({ listener, why }) => `${listener.name ?? ''} ${why}`).join('; ') || 'it has none'}`,
      });
  }
  return { attached, refused };
}

interface Context {
  readonly gateway: { readonly namespace: string };
  labelsOf: Surroundings['labelsOf'];
}

/** Undefined: the listener takes the route. */
const refusal = (
  listener: Listener,
  parent: ParentRef,
  route: RouteObject,
  context: Context,
): string | undefined =>
  notMeant(listener, parent) ?? notOfKind(listener, route.kind) ?? notFrom(listener, route, context);

function notMeant(listener: Listener, { sectionName, port }: ParentRef): string | undefined {
  if (sectionName !== undefined && sectionName !== listener.name) return 'is not the one meant';
  return port !== undefined && port !== listener.port ? 'is at another port' : undefined;
}

function notOfKind({ protocol, allowedRoutes }: Listener, kind: string): string | undefined {
  if (!PROTOCOLS[kind]?.includes(protocol ?? '')) return `is for ${protocol ?? 'no protocol'}`;
  const kinds = allowedRoutes?.kinds ?? [];
  return kinds.length > 0 && !kinds.some((each) => each.kind === kind) ? `takes no ${kind}` : undefined;
}

function notFrom(
  { allowedRoutes, hostname }: Listener,
  { metadata, spec }: RouteObject,
  { gateway, labelsOf }: Context,
): string | undefined {
  const namespace = metadata.namespace ?? 'default';
  const { from = 'Same', selector = {} } = allowedRoutes?.namespaces ?? {};
  if (from === 'Same' && namespace !== gateway.namespace) return 'takes routes of its own namespace only';
  if (from === 'None') return 'takes no routes';
  const parsed = parseSelector(selector);
  if (from === 'Selector' && !parsed.ok) return `has a selector that cannot be read: ${parsed.message}`;
  if (from === 'Selector' && parsed.ok && !parsed.selector.selects(labelsOf(namespace)))
    return `does not select namespace ${namespace}`;
  const hosts = spec?.hostnames ?? [];
  return hosts.length > 0 && common(hosts, hostname).length === 0
    ? `is for host ${hostname ?? ''}`
    : undefined;
}

/** Names of the route that the listener has too, the narrower of both; `*.` stands for one label or more. */
function common(hosts: readonly string[], listener: string | undefined): string[] {
  if (listener === undefined || listener === '') return [...hosts];
  if (hosts.length === 0) return [listener];
  return hosts.flatMap((host) => (covers(listener, host) ? host : covers(host, listener) ? listener : []));
}

function covers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true;
  return wide.startsWith('*.') && narrow.endsWith(wide.slice(1)) && narrow.length > wide.length - 1;
}

const hostText = (hosts: readonly string[]): string => (hosts.length > 0 ? ` host ${hosts.join(', ')}` : '');

const listenerText = ({ name, port, protocol }: Listener): string =>
  `${name ?? ''} (${port ?? ''} ${protocol ?? ''})`;
