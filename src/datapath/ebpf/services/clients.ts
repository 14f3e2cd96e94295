/** Whose sockets the programs serve: the node's namespace and its pods'. */
import { netnsCookie } from '../../../kernel/netns-cookie.ts';
import { closeNetns, type Netns, openNetns } from '../../../kernel/netns.ts';
import { HeddleError } from '../../../lib/errors.ts';
import type { Difference } from '../../backend.ts';
import type { LocalPod } from '../../plan/tables.ts';
import { u32Bytes } from './fields.ts';
import type { WritableMap } from './stage.ts';

/** In the map: 0 is the node itself. */
const NODE = 0;

export interface Clients {
  apply(pods: ReadonlyMap<string, LocalPod | undefined>): void;
  prune(pods: ReadonlyMap<string, LocalPod>): Difference[];
  verify(pods: ReadonlyMap<string, LocalPod>): Difference[];
  /** Where a namespace's sockets are to be found; undefined where it is gone. */
  open(cookie: bigint): Netns | undefined;
}

interface Client {
  readonly cookie: bigint;
  readonly number: number;
  readonly path: string | undefined;
}

export interface ClientsDeps {
  /** `netns_cookies` */
  readonly map: WritableMap;
  readonly ns: Netns;
  readonly log: { warn(message: string, fields?: Record<string, unknown>): void };
}

export function createClients({ map, ns, log }: ClientsDeps): Clients {
  const node: Client = { cookie: netnsCookie(ns), number: NODE, path: undefined };
  const pods = new Map<string, Client>();
  let lastNumber = NODE;

  /** A pod without a namespace of its own uses the node's; one that is gone opens no socket. */
  function clientOf(key: string, pod: LocalPod): Client | undefined {
    if (pod.netns === undefined) return undefined;
    const known = pods.get(key);
    if (known?.path === pod.netns && sameNamespace(known, pod.netns)) return known;
    const cookie = cookieAt(pod.netns);
    if (cookie === undefined) log.warn('a pod has no network namespace', { pod: key, netns: pod.netns });
    return cookie === undefined ? undefined : { cookie, number: ++lastNumber, path: pod.netns };
  }

  const write = ({ cookie, number }: Client) => void map.update(cookieBytes(cookie), u32Bytes(number));

  function remove(key: string): void {
    const known = pods.get(key);
    pods.delete(key);
    if (known && known.cookie !== node.cookie) map.delete(cookieBytes(known.cookie));
  }

  /** Wanted and found entries side by side; `mend` hears of each difference. */
  function compare(wanted: ReadonlyMap<string, LocalPod>, mend: boolean): Difference[] {
    const found = new Map([...map.entries()].map(([key, value]) => [cookieOf(key), value]));
    const differences: Difference[] = [];
    const clients: [string | undefined, Client][] = [[undefined, node]];
    for (const [key, pod] of wanted) {
      const client = clientOf(key, pod);
      if (client) clients.push([key, client]);
    }
    if (mend) pods.clear();
    for (const [key, client] of clients) {
      const value = found.get(client.cookie);
      found.delete(client.cookie);
      if (mend && key !== undefined) pods.set(key, client);
      if (value) continue;
      differences.push({ kind: 'missing', what: `netns_cookies ${client.cookie} (${key ?? 'node'})` });
      if (mend) write(client);
    }
    for (const cookie of found.keys()) {
      differences.push({ kind: 'foreign', what: `netns_cookies ${cookie}` });
      if (mend) map.delete(cookieBytes(cookie));
    }
    return differences;
  }

  return {
    apply(changes) {
      for (const [key, pod] of changes) {
        const client = pod && clientOf(key, pod);
        if (client && pods.get(key) === client) continue;
        remove(key);
        if (!client) continue;
        write(client);
        pods.set(key, client);
      }
    },
    prune: (wanted) => compare(wanted, true),
    verify: (wanted) => compare(wanted, false),
    open(cookie) {
      if (cookie === node.cookie) return openNetns(ns.path);
      const path = [...pods.values()].find((pod) => pod.cookie === cookie)?.path;
      return path === undefined ? undefined : tryOpen(path);
    },
  };
}

function tryOpen(path: string): Netns | undefined {
  try {
    return openNetns(path);
  } catch (error) {
    if (error instanceof HeddleError && error.code === 'NetnsMissing') return undefined;
    throw error;
  }
}

function cookieAt(path: string): bigint | undefined {
  const ns = tryOpen(path);
  if (!ns) return undefined;
  try {
    return netnsCookie(ns);
  } finally {
    closeNetns(ns);
  }
}

/** Paths are used again: a pod that was made anew under its name has another namespace there. */
const sameNamespace = (client: Client, path: string): boolean => cookieAt(path) === client.cookie;

function cookieBytes(cookie: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(cookie);
  return new Uint8Array(bytes);
}

const cookieOf = (key: Uint8Array): bigint => Buffer.from(key).readBigUInt64LE();
