/**
 * The leases of this machine's containers: each is renewed at T1, asked of anybody at T2, and lost at its end, as RFC
 * 2131 section 4.4.5 says. They are on disk, so that an agent which was away goes on where it was.
 */
import { closeNetns, openNetns } from '../../../kernel/netns.ts';
import { type Clock, systemClock } from '../../../lib/clock.ts';
import { errorText } from '../../../lib/errors.ts';
import { isObject } from '../../../lib/json.ts';
import type { Log } from '../../../lib/log.ts';
import { createStateFile } from '../../../lib/state-file.ts';
import { attachmentKey } from '../../attachment.ts';
import { giveRoutes, withRoute } from '../../main/inside.ts';
import type { Attachment, CniRequest } from '../../types.ts';
import type { DhcpLeases } from '../source.ts';
import type { Lease } from '../types.ts';
import { acquire, type Client, giveBack, type Granted, type Held, prolong } from './client.ts';
import { type Line, openLine, type OpenLine } from './exchange.ts';
import { FOR_EVER } from './lease.ts';

export interface DhcpDeps {
  /** JSON file. */
  readonly path: string;
  readonly log: Log;
  readonly clock?: Clock;
  readonly openLine?: OpenLine;
}

export interface DhcpStatus {
  readonly attachment: string;
  readonly address: string;
  readonly server: string;
  /** Milliseconds since 1970; nothing where it is for ever. */
  readonly expires?: number;
  readonly lost: boolean;
}

export interface DhcpKeeper extends DhcpLeases {
  list(): DhcpStatus[];
  close(): Promise<void>;
}

interface Entry extends Held {
  readonly containerId: string;
  readonly ifName: string;
  readonly netns: string;
  readonly client: Client;
  readonly network: Lease;
  /** Milliseconds since 1970; of the three times of the lease. */
  readonly since: number;
  readonly renew: number;
  readonly rebind: number;
  readonly expires: number;
  /** It ended, and was not given anew. */
  readonly lost?: boolean;
  /** The last turn failed on this machine: not before `renew`. */
  readonly retry?: boolean;
}

/** Milliseconds between two tries, at least (section 4.4.5); short leases are tried oftener. */
const LEAST_PAUSE = 60_000;
const ANSWER_WAIT = 5_000;
/** After a lease was lost. */
const LOST_PAUSE = 30_000;
const LONGEST_SLEEP = 2 ** 31 - 1;

/** A damaged file is set aside with a warning: its leases end by themselves, and with DEL. */
export async function createDhcp(deps: DhcpDeps): Promise<DhcpKeeper> {
  const { log, clock = systemClock } = deps;
  const open = deps.openLine ?? openLine;
  const file = createStateFile<{ version: 1; leases: Entry[] }>(deps.path, {
    synced: false,
    isWhole: isLeases,
  });
  const entries = new Map<string, Entry>();
  const keepers = new Map<string, { abort: AbortController; done: Promise<void> }>();

  const save = () => file.save(() => ({ version: 1, leases: [...entries.values()] }));

  async function withLine<T>(
    entry: Pick<Entry, 'netns' | 'ifName'>,
    use: (line: Line) => Promise<T>,
  ): Promise<T> {
    const line = open(entry);
    try {
      return await use(line);
    } finally {
      line.close();
    }
  }

  function entryOf(
    base: Pick<Entry, 'containerId' | 'ifName' | 'netns' | 'client'>,
    { network, server, serverMac, lease, renew, rebind }: Granted,
  ): Entry {
    const since = clock.now();
    const at = (seconds: number) => (lease === FOR_EVER ? Number.MAX_SAFE_INTEGER : since + seconds * 1000);
    const address = network.addresses[0]?.address.split('/')[0] ?? '';
    const { containerId, ifName, netns, client } = base;
    return {
      containerId,
      ifName,
      netns,
      client,
      network,
      server,
      serverMac,
      address,
      since,
      renew: at(renew),
      rebind: at(rebind),
      expires: at(lease),
    };
  }

  async function put(key: string, entry: Entry): Promise<void> {
    entries.set(key, entry);
    await save();
  }

  /** Until it is released. Nothing that goes wrong ends it. */
  async function keep(key: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const entry = entries.get(key);
      if (!entry) return;
      const pause = pauseOf(entry, clock.now());
      await clock.sleep(Math.min(pause, LONGEST_SLEEP), signal).catch(() => {});
      if (signal.aborted) return;
      if (pause > LONGEST_SLEEP) continue;
      await step(key, entry, signal).catch((error: unknown) => {
        log.warn('a DHCP lease could not be renewed', { address: entry.address, error: errorText(error) });
        entries.set(key, { ...entry, renew: clock.now() + LOST_PAUSE, retry: true });
      });
    }
  }

  async function step(key: string, entry: Entry, signal: AbortSignal): Promise<void> {
    const now = clock.now();
    if (now < entry.renew) return;
    if (now >= entry.expires || entry.lost) return regain(key, entry, signal);
    const rebinding = now >= entry.rebind;
    const wait = Math.max(200, Math.min(ANSWER_WAIT, entry.expires - now));
    const answer = await withLine(entry, (line) =>
      prolong(line, entry.client, entry, { rebinding, wait, signal }),
    );
    if (signal.aborted) return;
    if (answer === 'refused') await lose(key, entry, 'the server took it back');
    else if (answer) await put(key, entryOf(entry, answer));
    else await put(key, { ...entry, retry: false, renew: nextTry(entry, clock.now()) });
  }

  /** Nothing may be sent from an address whose lease is over (section 4.4.5). */
  async function lose(key: string, entry: Entry, why: string): Promise<void> {
    log.warn('a DHCP lease is lost', { address: entry.address, server: entry.server, why });
    changeAddress(entry, 'take');
    await put(key, { ...entry, lost: true, renew: clock.now() });
  }

  /** The runtime knows the container by its address: another one is of no use. */
  async function regain(key: string, entry: Entry, signal: AbortSignal): Promise<void> {
    if (!entry.lost) return lose(key, entry, 'nobody renewed it in time');
    const granted = await withLine(entry, async (line) => {
      const got = await acquire(line, entry.client, entry.address, signal).catch(() => undefined);
      const other = got && got.network.addresses[0]?.address.split('/')[0] !== entry.address;
      if (other) giveBack(line, entry.client, { ...entryOf(entry, got) });
      return other ? undefined : got;
    });
    if (signal.aborted) return;
    if (!granted) return put(key, { ...entry, renew: clock.now() + LOST_PAUSE });
    const fresh = entryOf(entry, granted);
    changeAddress(fresh, 'give');
    log.info('a DHCP lease is there again', { address: fresh.address });
    await put(key, fresh);
  }

  function watch(key: string): void {
    const abort = new AbortController();
    keepers.set(key, { abort, done: keep(key, abort.signal) });
  }

  async function unwatch(key: string): Promise<void> {
    const keeper = keepers.get(key);
    keepers.delete(key);
    keeper?.abort.abort();
    await keeper?.done;
  }

  const saved = await file.loadWhole(log, 'leases that were in it are not renewed, and end');
  for (const entry of saved?.leases ?? []) {
    const key = attachmentKey(entry);
    entries.set(key, entry);
    watch(key);
  }

  return {
    async obtain(attachment, { netns }, config) {
      const key = attachmentKey(attachment);
      await unwatch(key);
      const { containerId, ifName } = attachment;
      const client = { id: clientId(attachment), config };
      const base = { containerId, ifName, netns, client };
      const before = entries.get(key)?.address;
      const granted = await withLine(base, (line) => acquire(line, client, before));
      await put(key, entryOf(base, granted));
      watch(key);
      return granted.network;
    },
    async release(attachment) {
      const key = attachmentKey(attachment);
      await unwatch(key);
      const entry = entries.get(key);
      if (!entry) return;
      // Without its link there is no way to tell; the lease ends by itself.
      if (!entry.lost)
        await withLine(entry, async (line) => giveBack(line, entry.client, entry)).catch(() => {});
      entries.delete(key);
      await save();
    },
    faults(attachment) {
      const entry = entries.get(attachmentKey(attachment));
      if (!entry) return ['no DHCP lease is kept for it'];
      return entry.lost ? [`the DHCP lease of ${entry.address} is lost`] : [];
    },
    list: () =>
      [...entries].map(([key, { address, server, expires, lost = false }]) => ({
        attachment: key,
        address,
        server,
        lost,
        ...(expires === Number.MAX_SAFE_INTEGER ? {} : { expires }),
      })),
    async close() {
      await Promise.all(Array.from(keepers.keys(), unwatch));
    },
  };
}

const isLeases = (value: unknown): boolean =>
  isObject(value) &&
  value['version'] === 1 &&
  Array.isArray(value['leases']) &&
  value['leases'].every(
    (each: unknown) =>
      isObject(each) &&
      [each['containerId'], each['ifName'], each['netns'], each['address'], each['server']].every(
        (text) => typeof text === 'string',
      ) &&
      [each['since'], each['renew'], each['rebind'], each['expires']].every(Number.isFinite) &&
      isObject(each['client']) &&
      isObject(each['network']) &&
      Array.isArray(each['network']['addresses']),
  );

/** As the reference's daemon has it, so that a server knows the container again: id, network, interface. */
const clientId = (attachment: Attachment & Partial<Pick<CniRequest, 'config'>>): string =>
  `${attachment.containerId}/${attachment.config?.name ?? ''}/${attachment.ifName}`;

const pauseOf = ({ renew, expires, lost, retry }: Entry, now: number): number =>
  Math.max(0, (lost || retry ? renew : Math.min(renew, expires)) - now);

/** Half of what is left until T2, then until the end; a minute at least, but never past the next turn. */
function nextTry({ since, rebind, expires }: Entry, now: number): number {
  const end = now < rebind ? rebind : expires;
  const least = Math.min(LEAST_PAUSE, (expires - since) / 16);
  return Math.min(end, now + Math.max(least, (end - now) / 2));
}

function changeAddress({ netns: path, ifName, network }: Entry, change: 'give' | 'take'): void {
  const [address] = network.addresses;
  if (!address) return;
  const netns = openNetns(path);
  try {
    if (change === 'take') {
      withRoute(netns, (route) => route.deleteAddress(ifName, address.address));
      return;
    }
    withRoute(netns, (route) => route.replaceAddress(ifName, address.address));
    giveRoutes({ netns, ifName }, network.routes, network);
  } finally {
    closeNetns(netns);
  }
}
