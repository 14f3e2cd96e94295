/** Where an attachment's addresses come from: what is given, and what must be remembered to give it back. */
import type { CniRoute, Dns } from '../types.ts';

export interface LeasedAddress {
  /** With the prefix length of its network: `10.1.0.5/24`. */
  readonly address: string;
  readonly gateway?: string;
}

export interface Lease {
  readonly addresses: readonly LeasedAddress[];
  readonly routes: readonly CniRoute[];
  readonly dns: Dns;
}

/** As it is kept in the address book. */
export type SavedSource =
  | { readonly type: 'own' }
  | { readonly type: 'none' }
  | { readonly type: 'static' }
  | { readonly type: 'dhcp' }
  | { readonly type: 'host-local'; readonly folder: string };

export const NO_LEASE: Lease = { addresses: [], routes: [], dns: {} };
