/** What dumps and traces are made of: the plan of one node, and the names of what addresses stand for. */
import { formatAddress, formatHostPort, tryParseAddress } from '../../lib/ip.ts';
import type { Counter, TrackedFlow } from '../backend.ts';
import type { PlanState } from '../plan/tables.ts';

export interface KnownPod {
  /** `namespace/name` */
  readonly pod: string;
  readonly node: string;
  readonly addresses: readonly string[];
}

export interface KnownNode {
  readonly name: string;
  readonly addresses: readonly string[];
}

export interface NodeView {
  readonly node: string;
  readonly backend: string;
  readonly state: PlanState;
  /** Of the whole cluster. */
  readonly pods: readonly KnownPod[];
  readonly nodes: readonly KnownNode[];
}

export interface DumpSource extends NodeView {
  readonly counters: ReadonlyMap<number, Counter>;
  readonly flows: readonly TrackedFlow[];
}

/** `namespace` of pods and services; `service` and `pod` as `namespace/name`, or a name alone. */
export interface DumpFilter {
  readonly namespace?: string | undefined;
  readonly service?: string | undefined;
  readonly pod?: string | undefined;
}

export interface Names {
  /** `namespace/name` of the pod that has the address. */
  pod(address: string): KnownPod | undefined;
  /** Name of the node that has the address. */
  node(address: string): string | undefined;
  /** `shop/cart-1`, `node node-1`, `service shop/cart`; undefined for what is none of ours. */
  address(address: string): string | undefined;
  service(address: string, protocol: string, port: number): string | undefined;
}

const known = new WeakMap<NodeView, Names>();

/** Made once for a view, which does not change. */
export function createNames(view: NodeView): Names {
  const names = known.get(view) ?? makeNames(view);
  known.set(view, names);
  return names;
}

function makeNames({ pods, nodes, state }: NodeView): Names {
  const byAddress = new Map(
    pods.flatMap((pod) => pod.addresses.map((address) => [oneForm(address), pod] as const)),
  );
  const nodeOf = new Map(
    nodes.flatMap(({ name, addresses }) => addresses.map((each) => [oneForm(each), name] as const)),
  );
  const services = new Map([...state.services.values()].map((each) => [each.address, each.service] as const));
  return {
    pod: (address) => byAddress.get(address),
    node: (address) => nodeOf.get(address),
    address(address) {
      const pod = byAddress.get(address);
      if (pod) return pod.pod;
      const node = nodeOf.get(address);
      if (node !== undefined) return `node ${node}`;
      const service = services.get(address);
      return service === undefined ? undefined : `service ${service}`;
    },
    service: (address, protocol, port) => state.services.get(`${address}|${protocol}|${port}`)?.service,
  };
}

/** Objects may carry an address in any of its forms. */
function oneForm(text: string): string {
  const address = tryParseAddress(text);
  return address ? formatAddress(address) : text;
}

/** Whether a `namespace/name` is asked for. */
export function isAskedFor(name: string, filter: DumpFilter, kind: 'pod' | 'service'): boolean {
  const wanted = filter[kind];
  const [namespace, bare] = name.split('/');
  if (filter.namespace !== undefined && filter.namespace !== namespace) return false;
  return wanted === undefined || wanted === name || wanted === bare;
}

export const hex = (number: number): string => number.toString(16).padStart(8, '0');

export const endText = (address: string, port: number): string =>
  port === 0 ? address : formatHostPort(address, port);
