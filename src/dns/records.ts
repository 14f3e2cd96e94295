/**
 * What the cluster's services are called: a table that informers feed and queries read. A change costs what
 * that one service's names cost; a lookup is one or two map lookups.
 */
import type { EndpointSlice, Service } from '../api/types.ts';
import type { ResourceRecord } from './record.ts';
import { type ServiceNames, serviceNames } from './service-names.ts';

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

const none: readonly ResourceRecord[] = [];

export function createRecords(options: RecordsOptions = {}): Records {
  const { ttl = 5 } = options;
  const domain = (options.domain ?? 'cluster.local').replace(/\.$/, '').toLowerCase();
  const services = new Map<string, Service>();
  const slices = new Map<string, readonly EndpointSlice[]>();
  const built = new Map<string, ServiceNames>();
  const names = new Map<string, readonly ResourceRecord[]>();
  /** By address, then by service. */
  const pointers = new Map<string, Map<string, readonly string[]>>();
  const namespaces = createNamespaces();
  let isSynced = false;
  let serial = 1;

  function forget(key: string): void {
    const old = built.get(key);
    if (!old) return;
    built.delete(key);
    for (const name of old.names.keys()) names.delete(name);
    for (const address of old.reverse.keys()) {
      const owners = pointers.get(address);
      owners?.delete(key);
      if (owners?.size === 0) pointers.delete(address);
    }
  }

  function learn(key: string, fresh: ServiceNames): void {
    built.set(key, fresh);
    for (const [name, records] of fresh.names) names.set(name, records);
    for (const [address, targets] of fresh.reverse) {
      let owners = pointers.get(address);
      if (!owners) pointers.set(address, (owners = new Map()));
      owners.set(key, targets);
    }
  }

  function rebuild(key: string): void {
    const service = services.get(key);
    forget(key);
    if (service) learn(key, serviceNames(service, slices.get(key) ?? [], { domain, ttl }));
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
    lookup: (name) => names.get(name) ?? (isNamespaceName(name, domain, namespaces.has) ? none : undefined),
    reverse: (address) => [...(pointers.get(address)?.values() ?? [])].flat(),
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
