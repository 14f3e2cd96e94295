/** What Services say wrongly, and what they ask for that a backend cannot do: said aloud, never silently ignored. */
import type { Service } from '../../api/types.ts';
import { tryParseAddress, tryParseCidr } from '../../lib/ip.ts';
import type { Backend, ServiceCapabilities } from '../backend.ts';
import { routingOf } from '../routing.ts';
import { ALGORITHMS, BALANCE, FORWARDING, FORWARDINGS, forwardingOf, rangeTexts } from './service-words.ts';
import { isClusterRange, servedFamilies, serviceKey } from './services.ts';
import type { BackendAddress, Protection, ServiceFrontend, Settings } from './tables.ts';

export interface Problem {
  /** `Service shop/cart` */
  readonly object: string;
  /** `spec.sessionAffinity` */
  readonly field: string;
  readonly message: string;
}

export type PlannedBackend = Pick<Backend, 'name' | 'capabilities'>;

/** Of a backend that names nothing: cluster addresses, drawn at random. */
const PLAIN: ServiceCapabilities = {
  kinds: ['ClusterIP'],
  algorithms: ['random'],
  forwarding: ['snat'],
  protocols: ['TCP', 'UDP', 'SCTP'],
  weights: false,
  sourceRanges: false,
  trafficPolicies: false,
};

/** What does not depend on the backend: words that nobody understands, addresses that nobody may take. */
export function serviceProblems(service: Service, settings: Settings | undefined): Problem[] {
  const object = `Service ${serviceKey(service)}`;
  const unknownWord = (key: string, words: readonly string[]): Problem[] => {
    const said = service.metadata.annotations?.[key];
    if (said === undefined || words.includes(said)) return [];
    const message = `${JSON.stringify(said)} is none of ${words.join(', ')}: ignored`;
    return [{ object, field: `metadata.annotations[${key}]`, message }];
  };
  return [
    ...unknownWord(BALANCE, ALGORITHMS),
    ...unknownWord(FORWARDING, FORWARDINGS),
    ...directReturnProblem(service, settings),
    ...rangeTexts(service)
      .filter((text) => !tryParseCidr(text))
      .map((text) => ({
        object,
        field: 'spec.loadBalancerSourceRanges',
        message: `${JSON.stringify(text)} is no range of addresses: nobody is let in by it`,
      })),
    ...(service.spec?.externalIPs ?? []).flatMap((text, i) => {
      const why = unservedExternal(text, service, settings);
      return why === undefined
        ? []
        : [{ object, field: `spec.externalIPs[${i}]`, message: `${text} is ${why}` }];
    }),
  ];
}

function unservedExternal(
  text: string,
  service: Service,
  settings: Settings | undefined,
): string | undefined {
  if (isClusterRange(text, settings)) return "of the cluster's own services or pods: not served";
  const families = servedFamilies(service);
  const family = tryParseAddress(text)?.family;
  if (families.size === 0 || family === undefined || families.has(family)) return undefined;
  return `of IPv${family}, which the Service does not have in spec.ipFamilies: not served`;
}

function directReturnProblem(service: Service, settings: Settings | undefined): Problem[] {
  const { sends } = routingOf(settings);
  if (sends === 'vxlan' || forwardingOf(service, 'LoadBalancer') !== 'dsr') return [];
  return [
    {
      object: `Service ${serviceKey(service)}`,
      field: `metadata.annotations[${FORWARDING}]`,
      message: `direct server return needs VXLAN between nodes, and they go by ${sends}: snat is used`,
    },
  ];
}

/** One problem for each Service and field, in the order of the frontends. */
export function backendProblems(
  frontends: Iterable<Readonly<ServiceFrontend>>,
  { name, capabilities }: PlannedBackend,
): Problem[] {
  const can = capabilities.services ?? PLAIN;
  const found = new Map<string, Problem>();
  for (const frontend of frontends) {
    const object = `Service ${frontend.service}`;
    for (const [field, message] of missing(frontend, can, capabilities.sessionAffinity)) {
      const key = `${object} ${field}`;
      if (!found.has(key))
        found.set(key, { object, field, message: `the ${name} backend cannot ${message}` });
    }
  }
  return [...found.values()];
}

export function protectionProblems(
  protection: Readonly<Protection> | undefined,
  { name, capabilities }: PlannedBackend,
): Problem[] {
  if (!protection) return [];
  const can = capabilities.protection ?? { denied: false, limits: false };
  const { denied, packets, connections, allConnections } = protection;
  const problem = (field: string, message: string): Problem[] =>
    protection.objects.map((object) => ({
      object: `UplinkProtection ${object}`,
      field,
      message: `the ${name} backend cannot ${message}`,
    }));
  return [
    ...(denied.length > 0 && !can.denied ? problem('spec.denied', 'deny ranges: everybody is heard') : []),
    ...((packets ?? connections ?? allConnections) && !can.limits
      ? problem('spec.limits', 'limit sources: as much is heard as comes')
      : []),
  ];
}

const FIELD_OF_KIND = {
  ClusterIP: ['spec.type', 'serve cluster addresses'],
  NodePort: ['spec.type', 'serve node ports: not reachable by them'],
  LoadBalancer: ['status.loadBalancer', 'serve balancer addresses: not reachable by them'],
  ExternalIP: ['spec.externalIPs', 'serve external addresses: not reachable by them'],
} as const;

type Missing = readonly [field: string, message: string];

function missing(
  frontend: Readonly<ServiceFrontend>,
  can: ServiceCapabilities,
  affinity: boolean,
): Missing[] {
  const { kind, protocol, algorithm, forwarding } = frontend;
  if (!can.kinds.includes(kind)) return [FIELD_OF_KIND[kind]];
  const all = [...frontend.backends, ...(frontend.externalBackends ?? [])];
  return [
    !can.protocols.includes(protocol) && (['spec.ports', `translate ${protocol}`] as const),
    !can.algorithms.includes(algorithm) &&
      !isDefault(frontend) &&
      ([`metadata.annotations[${BALANCE}]`, `balance by ${algorithm}: its own way is used`] as const),
    !can.forwarding.includes(forwarding) &&
      ([
        `metadata.annotations[${FORWARDING}]`,
        `forward by ${forwarding}: ${can.forwarding[0] ?? 'snat'} is used`,
      ] as const),
    ...affinityMissing(frontend, can, affinity),
    frontend.sourceRanges !== undefined &&
      !can.sourceRanges &&
      (['spec.loadBalancerSourceRanges', 'refuse clients by their address: everybody is let in'] as const),
    (frontend.externalBackends !== undefined || frontend.whenEmpty === 'drop') &&
      !can.trafficPolicies &&
      ([
        kind === 'ClusterIP' ? 'spec.internalTrafficPolicy' : 'spec.externalTrafficPolicy',
        'tell clients outside from those inside, and drop where no endpoint is local',
      ] as const),
    all.some(weighs) &&
      !can.weights &&
      (['endpoints', 'weigh endpoints: each gets the same share, one that drains too'] as const),
  ].filter((each) => each !== false);
}

function affinityMissing(
  { affinitySeconds: seconds }: Readonly<ServiceFrontend>,
  { leastAffinitySeconds: least = 0 }: ServiceCapabilities,
  affinity: boolean,
): Missing[] {
  if (seconds === undefined) return [];
  if (!affinity)
    return [['spec.sessionAffinity', 'keep a client at one endpoint: its connections may go to others']];
  if (seconds >= least) return [];
  return [['spec.sessionAffinityConfig', `end affinity after ${seconds} s: it lasts ${least} s at least`]];
}

const weighs = ({ weight }: BackendAddress): boolean => weight !== undefined;

/** Nobody asked for Maglev by not saying anything. */
const isDefault = ({ kind, algorithm }: Readonly<ServiceFrontend>): boolean =>
  kind !== 'ClusterIP' && algorithm === 'maglev';
