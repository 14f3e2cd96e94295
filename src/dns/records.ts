/**
 * What the cluster's services are called: a table that informers feed and queries read. A change costs what
 * that one service's names cost; a lookup is two map lookups once a service was asked for.
 */
import type { EndpointSlice, Service } from '../api/types.ts';
import type { ResourceRecord } from './record.ts';
import { type NamesAndAddresses, namesOf, type ServiceNames, serviceNames } from './service-names.ts';

export interface RecordsOptions {
  /** Default `cluster.local`. */
  domain?: string;
  /** Seconds that answers may be remembered; default 5. */
  ttl?: number;
}

export interface Records {
  readonly domain: string;
  readonly ttl: number;
  setService(service: Service): void;
  /** `key` is `namespace/name`. */
  removeService(key: string): void;
  /** All slices of the service, ready or not; none removes them. They may come before their service. */
  setSlices(serviceKey: string, slices: readonly EndpointSlice[]): void;
  setNamespace(name: string): void;
  removeNamespace(name: string): void;
  /** From now on a name that is not there does not exist; before, nobody knows. */
  synced(): void;
  readonly isSynced: boolean;
  /** Goes up with every change. */
  readonly serial: number;
  /** Names that services have. */
  readonly size: number;
  /** Of a lower-case name; undefined where nothing has that name, empty where it just exists. */
  lookup(name: string): readonly ResourceRecord[] | undefined;
  /** Names of a canonical address. */
  reverse(address: string): readonly string[];
}

/** A node's pods ask for few of a cluster's services. */
const MAX_MADE = 2000;

const none: readonly ResourceRecord[] = [];

export function createRecords(options: RecordsOptions = {}): Records {
  const { ttl = 5 } = options;
  const domain = (options.domain ?? 'cluster.local').replace(/\.$/, '').toLowerCase();
  const services = new Map<string, Service>();
  const slices = new Map<string, readonly EndpointSlice[]>();
  /** What services have names and addresses for, as text: their records are made when they are asked for. */
  const known = new Map<string, NamesAndAddresses>();
  const names = new Map<string, string>();
  /** By address, the services: one as a rule. */
  const pointers = new Map<string, string | readonly string[]>();
  const made = createMade((key) => build(key));
  const namespaces = createNamespaces();
  let isSynced = false;
  let serial = 1;

  function build(key: string): ServiceNames | undefined {
    const service = services.get(key);
    return service && serviceNames(service, slices.get(key) ?? [], { domain, ttl });
  }

  const ownersOf = (address: string): readonly string[] => {
    const owners = pointers.get(address) ?? [];
    return typeof owners === 'string' ? [owners] : owners;
  };

  function setOwners(address: string, owners: readonly string[]): void {
    const [only] = owners;
    if (only === undefined) pointers.delete(address);
    else pointers.set(address, owners.length === 1 ? only : owners);
  }

  function forget(key: string): void {
    const old = known.get(key);
    made.forget(key);
    if (!old) return;
    known.delete(key);
    for (const name of old.names) names.delete(name);
    for (const address of old.addresses)
      setOwners(
        address,
        ownersOf(address).filter((owner) => owner !== key),
      );
  }

  function learn(key: string, entry: NamesAndAddresses): void {
    known.set(key, entry);
    for (const name of entry.names) names.set(name, key);
    for (const address of entry.addresses) setOwners(address, [...ownersOf(address), key]);
  }

  function rebuild(key: string): void {
    forget(key);
    const service = services.get(key);
    if (service) learn(key, namesOf(service, slices.get(key) ?? [], { domain, ttl }));
    serial = (serial + 1) >>> 0;
  }

  return {
    domain,
    ttl,
    setService(service) {
      const key = `${service.metadata.namespace ?? ''}/${service.metadata.name}`;
      if (!services.has(key)) namespaces.add(namespaceOf(key));
      services.set(key, service);
      rebuild(key);
    },
    removeService(key) {
      if (!services.delete(key)) return;
      namespaces.release(namespaceOf(key));
      rebuild(key);
    },
    setSlices(key, list) {
      if (list.length === 0) slices.delete(key);
      else slices.set(key, list);
      // Only headless services show their endpoints.
      if (services.get(key)?.spec?.clusterIP === 'None') rebuild(key);
    },
    setNamespace: (name) => namespaces.declare(name),
    removeNamespace: (name) => namespaces.withdraw(name),
    synced() {
      isSynced = true;
    },
    get isSynced() {
      return isSynced;
    },
    get serial() {
      return serial;
    },
    get size() {
      return names.size;
    },
    lookup(name) {
      const owner = names.get(name);
      if (owner !== undefined) return made.get(owner)?.names.get(name);
      return isNamespaceName(name, domain, namespaces.has) ? none : undefined;
    },
    reverse: (address) => ownersOf(address).flatMap((owner) => made.get(owner)?.reverse.get(address) ?? []),
  };
}

/** Names of services that were asked for lately. */
function createMade(make: (key: string) => ServiceNames | undefined) {
  const made = new Map<string, ServiceNames>();
  return {
    get(key: string): ServiceNames | undefined {
      const there = made.get(key);
      if (there) return there;
      const fresh = make(key);
      if (!fresh) return undefined;
      if (made.size >= MAX_MADE) for (const oldest of made.keys().take(MAX_MADE / 4)) made.delete(oldest);
      made.set(key, fresh);
      return fresh;
    },
    forget: (key: string): void => void made.delete(key),
  };
}

const namespaceOf = (key: string): string => key.slice(0, key.indexOf('/'));

/** `svc.DOMAIN` and `NAMESPACE.svc.DOMAIN` exist, with no records of their own. */
function isNamespaceName(name: string, domain: string, has: (namespace: string) => boolean): boolean {
  const suffix = `svc.${domain}`;
  if (!name.endsWith(suffix)) return false;
  const rest = name.slice(0, -suffix.length);
  return rest === '' || (rest.endsWith('.') && has(rest.slice(0, -1)));
}

/** Namespaces that were named, and those that have services. */
function createNamespaces() {
  const declared = new Set<string>();
  const used = new Map<string, number>();
  return {
    declare: (name: string): void => void declared.add(name),
    withdraw: (name: string): void => void declared.delete(name),
    add: (name: string): void => void used.set(name, (used.get(name) ?? 0) + 1),
    release(name: string): void {
      const left = (used.get(name) ?? 1) - 1;
      if (left === 0) used.delete(name);
      else used.set(name, left);
    },
    has: (name: string): boolean => declared.has(name) || used.has(name),
  };
}
