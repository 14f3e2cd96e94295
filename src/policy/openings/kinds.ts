/** Objects that open workloads to the outside, whatever version they are written in, and what is read of them. */
import type { KubeObject } from '../../api/types.ts';
import { type Shape, type ShapeProblem, shapeProblems } from './shape.ts';

const GATEWAYS = 'gateway.networking.k8s.io';

const BACKEND_REF: Shape = {
  group: 'text',
  kind: 'text',
  name: 'text',
  namespace: 'text',
  port: 'port',
  weight: 'number',
};

/** Only HTTP's paths are told; of GRPC's the backends are. */
const MATCHES: Shape = { path: { type: 'text', value: 'text' } };

const route = (...matches: string[]): Shape => ({
  spec: {
    parentRefs: [
      { group: 'text', kind: 'text', namespace: 'text', name: 'text', sectionName: 'text', port: 'port' },
    ],
    hostnames: ['text'],
    rules: [
      {
        backendRefs: [BACKEND_REF],
        filters: [{ type: 'text', requestMirror: { backendRef: BACKEND_REF } }],
        ...Object.fromEntries(matches.map((field) => [field, [MATCHES]] as const)),
      },
    ],
  },
});

const INGRESS_BACKEND: Shape = {
  service: { name: 'text', port: { number: 'port', name: 'text' } },
  resource: { kind: 'text', name: 'text' },
  serviceName: 'text',
  servicePort: 'port-or-name',
};

interface OpenerKind {
  readonly groups: readonly string[];
  readonly shape: Shape;
}

const kinds: Readonly<Record<string, OpenerKind>> = {
  Service: {
    groups: [''],
    shape: {
      spec: {
        type: 'text',
        selector: 'texts',
        externalIPs: ['text'],
        loadBalancerSourceRanges: ['text'],
        allocateLoadBalancerNodePorts: 'flag',
        ports: [
          { name: 'text', port: 'port', targetPort: 'port-or-name', nodePort: 'number', protocol: 'text' },
        ],
      },
      status: { loadBalancer: { ingress: [{ ip: 'text', hostname: 'text' }] } },
    },
  },
  Ingress: {
    groups: ['networking.k8s.io', 'extensions'],
    shape: {
      metadata: { annotations: 'texts' },
      spec: {
        ingressClassName: 'text',
        defaultBackend: INGRESS_BACKEND,
        backend: INGRESS_BACKEND,
        rules: [{ host: 'text', http: { paths: [{ path: 'text', backend: INGRESS_BACKEND }] } }],
      },
    },
  },
  Gateway: {
    groups: [GATEWAYS],
    shape: {
      spec: {
        gatewayClassName: 'text',
        listeners: [
          {
            name: 'text',
            hostname: 'text',
            port: 'port',
            protocol: 'text',
            allowedRoutes: {
              namespaces: {
                from: 'text',
                selector: {
                  matchLabels: 'texts',
                  matchExpressions: [{ key: 'text', operator: 'text', values: ['text'] }],
                },
              },
              kinds: [{ group: 'text', kind: 'text' }],
            },
          },
        ],
      },
    },
  },
  HTTPRoute: { groups: [GATEWAYS], shape: route('matches') },
  GRPCRoute: { groups: [GATEWAYS], shape: route() },
  TCPRoute: { groups: [GATEWAYS], shape: route() },
  UDPRoute: { groups: [GATEWAYS], shape: route() },
  TLSRoute: { groups: [GATEWAYS], shape: route() },
  ReferenceGrant: {
    groups: [GATEWAYS],
    shape: {
      spec: {
        from: [{ group: 'text', kind: 'text', namespace: 'text' }],
        to: [{ group: 'text', kind: 'text', name: 'text' }],
      },
    },
  },
};

export const ROUTE_KINDS: readonly string[] = Object.keys(kinds).filter((kind) => kind.endsWith('Route'));

const groupOf = ({ apiVersion }: KubeObject): string =>
  apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';

export const isOpener = (object: KubeObject): boolean =>
  kinds[object.kind]?.groups.includes(groupOf(object)) ?? false;

/** Parts of an opener that are mistyped. */
export const openerProblems = (object: KubeObject): ShapeProblem[] => [
  ...shapeProblems(object, kinds[object.kind]?.shape ?? {}, ''),
];
