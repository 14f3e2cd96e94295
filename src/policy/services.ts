/** Services as policies may name them: by the labels of their pods, or by addresses that somebody keeps by hand. */
import { SERVICE_NAME } from '../api/labels.ts';
import { isObject } from '../lib/json.ts';
import type { AnyObject } from './surroundings.ts';
import type { PortProtocol, WorldService, WorldServicePort } from './world.ts';

const isService = ({ apiVersion, kind }: AnyObject): boolean => kind === 'Service' && apiVersion === 'v1';
export const isSlice = ({ apiVersion, kind }: Pick<AnyObject, 'apiVersion' | 'kind'>): boolean =>
  kind === 'EndpointSlice' && apiVersion.startsWith('discovery.k8s.io/');

const keyOf = (namespace: string | undefined, name: string): string => `${namespace ?? 'default'}/${name}`;

/** The Service of every cluster that the API server is reached by. */
export const isApiServer = ({ namespace, name }: { namespace?: string | undefined; name: string }): boolean =>
  namespace === 'default' && name === 'kubernetes';

/** One object for one object: what is as it was can be told by identity. */
const known = new WeakMap<AnyObject, WorldService>();

/** Objects of other kinds are left out. Of a Service with a selector the addresses are its pods'. */
export function servicesOf(objects: Iterable<AnyObject>): WorldService[] {
  const all = [...objects];
  const slices = Map.groupBy(all.filter(isSlice), ({ metadata }) =>
    keyOf(metadata.namespace, metadata.labels?.[SERVICE_NAME] ?? ''),
  );
  return all.filter(isService).map((object) => {
    const made = known.get(object) ?? serviceOf(object);
    known.set(object, made);
    if (made.selector) return made;
    const own = slices.get(keyOf(made.namespace, made.name)) ?? [];
    return { ...made, addresses: own.flatMap(addressesIn), ports: commonPorts(own) };
  });
}

function serviceOf(object: AnyObject): WorldService {
  const { namespace = 'default', name, labels = {} } = object.metadata;
  const { spec } = object as { spec?: unknown };
  const selector = isObject(spec) && isObject(spec['selector']) ? texts(spec['selector']) : {};
  return {
    namespace,
    name,
    labels: texts(labels),
    ...(Object.keys(selector).length > 0 ? { selector } : {}),
    ports: isObject(spec) ? portsIn(spec['ports'], ['targetPort', 'port']) : [],
  };
}

const PROTOCOLS: readonly unknown[] = ['TCP', 'UDP', 'SCTP'] satisfies PortProtocol[];

/** @param fields where the port of the endpoints is: the first that is there */
const portsIn = (list: unknown, fields: readonly string[]): WorldServicePort[] =>
  (Array.isArray(list) ? list : []).filter(isObject).flatMap((each): WorldServicePort[] => {
    const protocol = each['protocol'] ?? 'TCP';
    const port = fields.map((field) => each[field]).find((value) => value !== undefined && value !== null);
    if (!PROTOCOLS.includes(protocol)) return [];
    const isPort = port === undefined || typeof port === 'string' || typeof port === 'number';
    return isPort ? [{ protocol: protocol as PortProtocol, port }] : [];
  });

/** Undefined if they differ. */
function commonPorts(slices: readonly AnyObject[]): WorldServicePort[] | undefined {
  const [first = [], ...others] = slices.map((slice) =>
    portsIn((slice as { ports?: unknown }).ports, ['port']),
  );
  const text = (ports: readonly WorldServicePort[]): string =>
    [...new Set(ports.map(({ protocol, port = '' }) => `${protocol} ${port}`))].sort().join(',');
  return others.every((ports) => text(ports) === text(first)) ? first : undefined;
}

const texts = (values: object): Record<string, string> =>
  Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );

function addressesIn(slice: AnyObject): string[] {
  const { endpoints } = slice as { endpoints?: unknown };
  return (Array.isArray(endpoints) ? endpoints : []).flatMap((endpoint: unknown) => {
    const list = isObject(endpoint) ? endpoint['addresses'] : undefined;
    return Array.isArray(list) ? list.filter((address) => typeof address === 'string') : [];
  });
}
