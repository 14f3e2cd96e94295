/** Ways to connect a container, beside Heddle's own routed link: by the fields of the reference plugins of these names. */
import type { Link, Route } from '../../kernel/route.ts';
import type { Netns } from '../../kernel/netns.ts';
import type { Lease } from '../leases/types.ts';
import type { CniInterface, CniRequest, CniRoute } from '../types.ts';

export type MainKind = 'bridge' | 'ptp' | 'macvlan' | 'ipvlan';

export interface MainContext {
  readonly request: CniRequest;
  /** Opened in the machine's namespace. */
  readonly node: Route;
  /** The container's. */
  readonly netns: Netns;
  /** Owner mark of the host's end. */
  readonly alias: string;
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  /** Turns forwarding on for the families of these addresses. */
  readonly forward: (addresses: readonly string[]) => void;
}

/** A link that is there, without addresses yet. */
export interface MadeLink {
  /** In the order of the result; the container's is the last. */
  readonly interfaces: readonly CniInterface[];
  /** The host's end, where there is one. */
  readonly host: Link | undefined;
}

/** What follows from the addresses. */
export interface Settled {
  readonly routes: readonly CniRoute[];
  /** Gateways where the source of the addresses named none, by address. */
  readonly gateways: ReadonlyMap<string, string>;
}

export interface Main {
  readonly kind: MainKind;
  /** Addresses appear elsewhere with the machine's own. */
  readonly masquerade: boolean;
  /** Only the link address that was given may send. */
  readonly checkMac: boolean;
  /** The container's end gets no address and is left down. */
  readonly disabled: boolean;
  /** Whether the machine is the gateway: then addresses of our own pool come with a default route. */
  readonly routed: boolean;
  /** Whether others answer on the link, so that a DHCP server may be there. */
  readonly shared: boolean;
  /** @throws CniError, HeddleError of kernel/ */
  make(context: MainContext): MadeLink;
  settle(context: MainContext, made: MadeLink, lease: Lease): Settled;
}
