/** Rules for the endpoints of a Service. (API reference, "EntityRule": services.) */
import type { CalicoEntityRule } from '../../api/calico-types.ts';
import { NOT_BESIDE_SERVICES } from '../../api/calico-values.ts';
import { tryParseAddress } from '../../lib/ip.ts';
import type { PortMatch } from '../model.ts';
import { type Peer, podPeer, setPeer } from '../peers.ts';
import { everything, parseSelector } from '../selector.ts';
import type { WorldService } from '../world.ts';
import type { Report } from './read.ts';

interface Context {
  /** Of the policy; empty of one for all namespaces. */
  readonly namespace: string;
  readonly services: readonly WorldService[];
  readonly report: Report;
}

/** Null: the end names no Service. Undefined: it cannot be read. */
export type NamedService = { readonly peers: readonly Peer[]; readonly ports: readonly PortMatch[] };

export function readServices(
  entity: CalicoEntityRule,
  path: string,
  { namespace, services, report }: Context,
): NamedService | null | undefined {
  const { services: wanted } = entity;
  if (wanted === undefined || wanted === null) return null;
  const at = `${path}.services`;
  const of = wanted.namespace ? wanted.namespace : namespace;
  const beside = NOT_BESIDE_SERVICES.find((field) => isGiven(entity[field]));
  if (beside) report(at, `may not be used with ${beside}`);
  else if (!wanted.name) report(`${at}.name`, 'is missing');
  else if (of === '') report(`${at}.namespace`, 'is missing, of a policy for all namespaces');
  else return endpointsOf(`${of}/${wanted.name}`, services, at, report);
  return undefined;
}

const isGiven = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 : value !== undefined && value !== null && value !== '';

const known = new WeakMap<readonly WorldService[], ReadonlyMap<string, WorldService>>();

/** Many rules ask of the same world. */
function byKey(services: readonly WorldService[]): ReadonlyMap<string, WorldService> {
  const made =
    known.get(services) ?? new Map(services.map((each) => [`${each.namespace}/${each.name}`, each]));
  known.set(services, made);
  return made;
}

function endpointsOf(
  key: string,
  services: readonly WorldService[],
  path: string,
  report: Report,
): NamedService | undefined {
  const service = byKey(services).get(key);
  if (!service) {
    report(path, `there is no Service ${key}: it means nobody until there is`, 'absent');
    return { peers: [], ports: [] };
  }
  if (!service.ports) {
    report(path, `the EndpointSlices of the Service ${key} differ in their ports, which is not done`);
    return undefined;
  }
  return { peers: peersOf(service), ports: service.ports.flatMap(matchOf) };
}

function peersOf({ namespace, name, selector, addresses = [] }: WorldService): Peer[] {
  if (selector) {
    const parsed = parseSelector({ matchLabels: selector });
    return [podPeer({ name: namespace }, parsed.ok ? parsed.selector : everything)];
  }
  const ranges = addresses
    .map(tryParseAddress)
    .filter((address) => address !== undefined)
    .map((address) => ({ ...address, length: address.family === 4 ? 32 : 128 }));
  return [setPeer(`Service ${namespace}/${name}`, ranges)];
}

function matchOf({ protocol, port }: NonNullable<WorldService['ports']>[number]): PortMatch[] {
  if (port === undefined) return [{ protocol, first: 0, last: 65_535 }];
  return [typeof port === 'number' ? { protocol, first: port, last: port } : { protocol, name: port }];
}
