/** What a node's agent knows of its kernel, for `heddle doctor` to judge. */
import type { Difference, PodUse } from '../datapath/backend.ts';

export interface NodeFacts {
  /** What the kernel has that the plan has not, and the other way round. */
  readonly differences: readonly Difference[];
  /** Links and addresses of attachments that nobody remembers. */
  readonly orphans: readonly string[];
  /** Where the address book and what the kernel leads to pods differ. */
  readonly strays: readonly string[];
  /** What has room for so many entries and no more. */
  readonly tables: readonly TableFill[];
  /** Pods that wanted more connections than their share lately, the heaviest first. */
  readonly beyondShare: readonly PodUse[];
  /** Of the node's pod ranges. */
  readonly addresses: readonly AddressFill[];
  /** Paths to other nodes that swallow large packets, in words. */
  readonly blackHoles: readonly string[];
  /** Bytes of the kernel's memory in tables of the data path. */
  readonly tableBytes: number;
}

export interface TableFill {
  /** `flows4`, `conntrack`, `neighbours of IPv6`. */
  readonly name: string;
  readonly entries: number;
  readonly max: number;
  /** Who has most of it, the heaviest first. Empty where nobody can be named. */
  readonly users: readonly User[];
}

export interface User {
  /** `namespace/name` of a pod, or a namespace. */
  readonly name: string;
  readonly entries: number;
}

export interface AddressFill {
  readonly cidr: string;
  readonly taken: number;
  readonly size: number;
  /** Namespaces. */
  readonly users: readonly User[];
}

export interface Finding {
  readonly check: Check;
  readonly severity: 'error' | 'warning';
  /** The sentence. */
  readonly what: string;
  /** Each thing that it is about. */
  readonly items: readonly string[];
  readonly hint: string;
  /** Whether `--fix` mends it. */
  readonly fixable: boolean;
}

export type Check =
  | 'data-path'
  | 'leases'
  | 'tables'
  | 'connections'
  | 'addresses'
  | 'clusters'
  | 'agents'
  | 'containers'
  | 'paths';

/** What `--fix` did on a node. */
export interface Fixed {
  readonly mended: readonly Difference[];
  readonly removed: readonly string[];
}
