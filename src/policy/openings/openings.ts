/** What Services, Ingresses and routes open to the outside, who answers there, and whether policies let it pass. */
import type { KubeObject } from '../../api/types.ts';
import type { Family } from '../../lib/ip.ts';
import { isObject } from '../../lib/json.ts';
import { compareWorkloads, type Estate, type Workload } from '../analyse/estate.ts';
import { compareText } from '../model.ts';
import type { PortProtocol } from '../world.ts';
import type { GatewayObject } from './attach.ts';
import { openedByIngress } from './ingresses.ts';
import { createJudge, type Judged } from './judge.ts';
import { ROUTE_KINDS } from './kinds.ts';
import type { Opened, OpenedBy, OpenerRef, Unopened } from './opened.ts';
import { createProxies } from './proxies.ts';
import { createResolver } from './resolve.ts';
import { type GrantObject, openedByRoute, type RouteObject } from './routes.ts';
import { openedByService, type ServiceObject } from './services.ts';

export interface Opening extends Judged {
  readonly workload: Workload;
  readonly protocol: PortProtocol;
  /** Of the pods. */
  readonly port: number;
  readonly by: OpenerRef;
  readonly entry: string;
  readonly service: { readonly namespace: string; readonly name: string };
}

export interface Openings {
  /** By workload, then by port. */
  readonly openings: readonly Opening[];
  /** Parts of objects that open nothing, and why: a backend that is not there, a Gateway that does not take the route. */
  readonly unopened: readonly Unopened[];
}

export interface OpeningsOptions {
  readonly family?: Family | undefined;
  /** Only of these. */
  readonly focus?: ReadonlySet<Workload> | undefined;
  /** Who proxies for Ingresses and Gateways; else they are told by their labels. */
  readonly proxies?: readonly Workload[] | undefined;
}

/** @param objects of the kinds that `isOpener` says; others are not looked at */
export function openings(
  estate: Estate,
  objects: readonly KubeObject[],
  { family = 4, focus, proxies }: OpeningsOptions = {},
): Openings {
  const written = objects.map((each) => withoutNulls(each) as KubeObject);
  const of = <T extends KubeObject>(...kinds: readonly string[]): T[] =>
    written.filter(({ kind }) => kinds.includes(kind)) as T[];
  const services = of<ServiceObject>('Service');
  const labels = new Map(estate.world.namespaces.map((each) => [each.name, each.labels]));
  const around = {
    gateways: of<GatewayObject>('Gateway'),
    grants: of<GrantObject>('ReferenceGrant'),
    labelsOf: (namespace: string) => ({
      'kubernetes.io/metadata.name': namespace,
      ...labels.get(namespace),
    }),
  };
  const all: OpenedBy[] = [
    ...services.map(openedByService),
    ...of('Ingress').map(openedByIngress),
    ...of<RouteObject>(...ROUTE_KINDS).map((route) => openedByRoute(route, around)),
  ];
  const resolve = createResolver(estate, services);
  const judge = createJudge(estate, { family, proxies: createProxies(estate, proxies) });
  const unopened = all.flatMap((each) => each.unopened);
  const found = all
    .flatMap(({ opened }) => opened)
    .flatMap((opened): Opening[] => {
      const resolved = resolve(opened);
      if (resolved.ok)
        return resolved.endpoints
          .filter(({ workload }) => !focus || focus.has(workload))
          .map((endpoint) => openingOf(opened, endpoint, judge(endpoint, opened.sender)));
      unopened.push({ by: opened.by, message: resolved.why });
      return [];
    });
  return { openings: found.sort(compare), unopened: [...byText(unopened).values()] };
}

/** `rules:` with nothing behind it is no rules. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) => (inner === null ? [] : [[key, withoutNulls(inner)]])),
  );
}

type At = Pick<Opening, 'workload' | 'protocol' | 'port'>;

const openingOf = ({ by, entry, service }: Opened, at: At, judged: Judged): Opening => ({
  ...at,
  by,
  entry,
  service: { namespace: service.namespace, name: service.name },
  ...judged,
});

const compare = (a: Opening, b: Opening): number =>
  compareWorkloads(a.workload, b.workload) ||
  compareText(a.protocol, b.protocol) ||
  a.port - b.port ||
  compareText(openerText(a.by), openerText(b.by)) ||
  compareText(a.entry, b.entry);

/** `Ingress shop/front spec.rules[0].http.paths[0]` */
export const openerText = ({ kind, namespace, name, path }: OpenerRef): string =>
  `${kind} ${namespace}/${name} ${path}`;

/** A port that is opened in several ways and is nowhere is told once. */
const byText = (list: readonly Unopened[]): Map<string, Unopened> =>
  new Map(list.map((each) => [`${openerText(each.by)} ${each.message}`, each]));
