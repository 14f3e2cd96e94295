/** Services: which fields go together, by type. */
import type { IServicePort } from 'kubernetes-models/v1/ServicePort';
import type { IServiceSpec } from 'kubernetes-models/v1/ServiceSpec';
import { tryParseAddress, tryParseCidr } from '../lib/ip.ts';
import {
  duplicate,
  forbidden,
  formatted,
  immutable,
  invalid,
  oneOf,
  type Problems,
  required,
} from './field-error.ts';
import { dns1123Label, dns1123Subdomain, portName, portNumber, qualifiedName } from './formats.ts';
import { validateLabels } from './metadata.ts';
import { isHeadless, validateAddresses, validateAddressUpdate } from './service-addresses.ts';
import type { Service } from './types.ts';

const TYPES = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'];
const IP_WORDS = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';
const CIDR_WORDS = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';
/** One day, in seconds. */
const MAX_AFFINITY = 86_400;

export function* validateService(service: Service): Problems {
  const spec = service.spec ?? {};
  yield* oneOf('spec.type', spec.type, TYPES);
  yield* validateLabels(spec.selector, 'spec.selector');
  yield* validatePorts(spec);
  if (spec.type === 'ExternalName') yield* validateExternalName(spec);
  else yield* validateAddresses(spec);
  yield* validateHeadless(spec);
  yield* validateAffinity(spec);
  yield* validateOutside(spec);
  yield* validateTraffic(spec);
  yield* validateBalancer(service.status);
}

function* validateBalancer(status: Service['status']): Problems {
  for (const [i, { ip, ipMode, hostname }] of (status?.loadBalancer?.ingress ?? []).entries()) {
    const at = `status.loadBalancer.ingress[${i}]`;
    if (ip && !tryParseAddress(ip)) yield invalid(`${at}.ip`, ip, IP_WORDS);
    if (ipMode && !ip) yield forbidden(`${at}.ipMode`, 'may not be specified when `ip` is not set');
    else if (ipMode) yield* oneOf(`${at}.ipMode`, ipMode, ['Proxy', 'VIP']);
    if (hostname) yield* formatted(`${at}.hostname`, hostname, dns1123Subdomain);
  }
}

function* validatePorts(spec: IServiceSpec): Problems {
  const ports = spec.ports ?? [];
  const headless = spec.clusterIP === 'None';
  if (ports.length === 0 && !headless && spec.type !== 'ExternalName') yield required('spec.ports');
  const names = new Set<string>();
  const numbers = new Set<string>();
  const nodePorts = new Set<string>();
  for (const [i, port] of ports.entries()) {
    const at = `spec.ports[${i}]`;
    yield* validatePort(port, at, ports.length > 1);
    if (port.name) {
      if (names.has(port.name)) yield duplicate(`${at}.name`, port.name);
      names.add(port.name);
    }
    const key = `${port.protocol}/${port.port}`;
    if (numbers.has(key)) yield duplicate(at, { port: port.port, protocol: port.protocol });
    numbers.add(key);
    if (!port.nodePort) continue;
    if (spec.type === 'ClusterIP' || spec.type === 'ExternalName')
      yield forbidden(`${at}.nodePort`, `may not be used when \`type\` is '${spec.type}'`);
    const nodeKey = `${port.protocol}/${port.nodePort}`;
    if (nodePorts.has(nodeKey)) yield duplicate(`${at}.nodePort`, port.nodePort);
    nodePorts.add(nodeKey);
  }
}

function* validatePort(port: IServicePort, path: string, nameNeeded: boolean): Problems {
  if (nameNeeded && !port.name) yield required(`${path}.name`);
  else if (port.name) yield* formatted(`${path}.name`, port.name, dns1123Label);
  for (const words of portNumber(port.port)) yield invalid(`${path}.port`, port.port, words);
  yield* oneOf(`${path}.protocol`, port.protocol, PROTOCOLS);
  if (typeof port.targetPort === 'string') yield* formatted(`${path}.targetPort`, port.targetPort, portName);
  else if (port.targetPort !== undefined)
    for (const words of portNumber(port.targetPort))
      yield invalid(`${path}.targetPort`, port.targetPort, words);
  if (port.appProtocol !== undefined)
    yield* formatted(`${path}.appProtocol`, port.appProtocol, qualifiedName);
  if (port.nodePort)
    for (const words of portNumber(port.nodePort)) yield invalid(`${path}.nodePort`, port.nodePort, words);
}

function* validateExternalName(spec: IServiceSpec): Problems {
  const name = (spec.externalName ?? '').replace(/\.$/, '');
  if (name === '') yield required('spec.externalName');
  else yield* formatted('spec.externalName', name, dns1123Subdomain);
  const words = 'may not be set for ExternalName services';
  if (spec.clusterIP) yield forbidden('spec.clusterIP', words);
  if ((spec.clusterIPs?.length ?? 0) > 0) yield forbidden('spec.clusterIPs', words);
  if ((spec.ipFamilies?.length ?? 0) > 0) yield forbidden('spec.ipFamilies', words);
  if (spec.ipFamilyPolicy) yield forbidden('spec.ipFamilyPolicy', words);
}

function* validateHeadless(spec: IServiceSpec): Problems {
  if (isHeadless(spec) && spec.type !== 'ClusterIP')
    yield invalid('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`);
}

function* validateAffinity(spec: IServiceSpec): Problems {
  yield* oneOf('spec.sessionAffinity', spec.sessionAffinity, ['ClientIP', 'None']);
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (
    spec.sessionAffinity === 'ClientIP' &&
    seconds !== undefined &&
    (seconds <= 0 || seconds > MAX_AFFINITY)
  )
    yield invalid(
      'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
      seconds,
      `must be greater than 0 and less than ${MAX_AFFINITY}`,
    );
}

/** What only concerns traffic from outside of the cluster. */
function* validateOutside(spec: IServiceSpec): Problems {
  for (const [i, text] of (spec.externalIPs ?? []).entries())
    if (!tryParseAddress(text)) yield invalid(`spec.externalIPs[${i}]`, text, IP_WORDS);
  const ranges = spec.loadBalancerSourceRanges ?? [];
  const balanced = spec.type === 'LoadBalancer';
  const words = "may only be used when `type` is 'LoadBalancer'";
  for (const [i, text] of ranges.entries())
    if (!tryParseCidr(text.trim())) yield invalid(`spec.loadBalancerSourceRanges[${i}]`, text, CIDR_WORDS);
  if (ranges.length > 0 && !balanced) yield forbidden('spec.loadBalancerSourceRanges', words);
  if (spec.loadBalancerClass && !balanced) yield forbidden('spec.loadBalancerClass', words);
  if (spec.allocateLoadBalancerNodePorts !== undefined && !balanced)
    yield forbidden('spec.allocateLoadBalancerNodePorts', words);
}

function* validateTraffic(spec: IServiceSpec): Problems {
  const balanced = spec.type === 'LoadBalancer';
  yield* oneOf('spec.externalTrafficPolicy', spec.externalTrafficPolicy, ['Cluster', 'Local']);
  yield* oneOf('spec.internalTrafficPolicy', spec.internalTrafficPolicy, ['Cluster', 'Local']);
  if (spec.trafficDistribution)
    yield* oneOf('spec.trafficDistribution', spec.trafficDistribution, [
      'PreferClose',
      'PreferSameNode',
      'PreferSameZone',
    ]);
  const reachable = balanced || spec.type === 'NodePort' || (spec.externalIPs?.length ?? 0) > 0;
  if (spec.externalTrafficPolicy && !reachable)
    yield invalid(
      'spec.externalTrafficPolicy',
      spec.externalTrafficPolicy,
      'may only be set for externally-accessible services',
    );
  if (spec.healthCheckNodePort && !(balanced && spec.externalTrafficPolicy === 'Local'))
    yield invalid(
      'spec.healthCheckNodePort',
      spec.healthCheckNodePort,
      "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
    );
}

/** A cluster address stays until the service becomes an ExternalName, or stops being one. */
export function* validateServiceUpdate(now: Service, before: Service): Problems {
  const has = now.spec ?? {};
  const had = before.spec ?? {};
  if (has.type === 'ExternalName' || had.type === 'ExternalName') return;
  yield* validateAddressUpdate(has, had);
  const checked = ({ type, externalTrafficPolicy }: IServiceSpec): boolean =>
    type === 'LoadBalancer' && externalTrafficPolicy === 'Local';
  if (had.healthCheckNodePort && checked(has) && checked(had))
    yield* immutable('spec.healthCheckNodePort', has.healthCheckNodePort, had.healthCheckNodePort);
  if (had.loadBalancerClass && has.type === 'LoadBalancer' && had.type === 'LoadBalancer')
    yield* immutable(
      'spec.loadBalancerClass',
      has.loadBalancerClass,
      had.loadBalancerClass,
      'may not change once set',
    );
}
