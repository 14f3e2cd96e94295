/**
 * One holder for each of many names, by Leases (coordination.k8s.io). All who want a name watch the same
 * Leases; a holder writes the time every `renewMs`, and whoever sees no new time for the Lease's duration, by
 * its own clock, takes it over with a compare-and-swap. Clocks of machines are never compared.
 */
import { LEASE } from '../api/kinds.ts';
import type { Lease } from '../api/types.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { isAlreadyExists, isConflict, isNotFound } from './api-error.ts';
import type { Informer } from './informer.ts';
import type { Client } from './types.ts';

export interface LeaseHolderDeps {
  readonly client: Client;
  /** Of Leases in `namespace`, at least those with `labels`. */
  readonly leases: Informer<Lease>;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Who we are; one process at a time has it. */
  readonly identity: string;
  /** Milliseconds without a renewal until another may take over. Whole seconds, at least twice `renewMs`. */
  readonly durationMs: number;
  readonly renewMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Called for each name that begins or ceases to be ours. */
  changed(name: string, held: boolean): void;
}

export interface LeaseHolder {
  /** `delayMs`: how long a free name is left to others first. Ours is given up when it is no longer wanted. */
  want(names: ReadonlyMap<string, { delayMs: number }>): void;
  readonly held: ReadonlySet<string>;
  /** Until the signal aborts, then gives up what it holds. */
  run(signal: AbortSignal): Promise<void>;
}

/** What is known of one name. */
interface Sight {
  version: string;
  /** Monotonic milliseconds: when the Lease was last seen to change, and when we last wrote it. */
  seenAt: number;
  renewedAt: number;
  busy: boolean;
}

const TICK = 100;

export function createLeaseHolder(deps: LeaseHolderDeps): LeaseHolder {
  const { client, leases, namespace, identity, durationMs, renewMs, clock } = deps;
  const log = deps.log.with({ part: 'leases' });
  const held = new Set<string>();
  const sights = new Map<string, Sight>();
  const pending = new Set<Promise<void>>();
  let wanted: ReadonlyMap<string, { delayMs: number }> = new Map();
  /** Of the next `want`: with nothing wanted there is nothing to look at. */
  let asked = Promise.withResolvers<void>();

  const leaseOf = (name: string): Lease | undefined => leases.get(`${namespace}/${name}`);

  function lose(name: string): void {
    if (held.delete(name)) deps.changed(name, false);
  }

  function take(name: string, sight: Sight, sentAt: number): void {
    sight.renewedAt = sentAt;
    if (held.has(name)) return;
    held.add(name);
    deps.changed(name, true);
  }

  function observe(name: string): Sight {
    const version = leaseOf(name)?.metadata.resourceVersion ?? '';
    const known = sights.get(name);
    if (known?.version === version) return known;
    const fresh = { renewedAt: Number.NEGATIVE_INFINITY, busy: false };
    const sight: Sight = { ...(known ?? fresh), version, seenAt: clock.monotonic() };
    if (known) Object.assign(known, sight);
    else sights.set(name, sight);
    return known ?? sight;
  }

  /** Milliseconds since the Lease could be had; negative while somebody else's is good. */
  function freeFor(lease: Lease | undefined, sight: Sight): number {
    const idle = clock.monotonic() - sight.seenAt;
    if (!lease?.spec?.holderIdentity) return idle;
    return idle - (lease.spec.leaseDurationSeconds ?? durationMs / 1000) * 1000;
  }

  function step(name: string, delayMs: number): void {
    const sight = observe(name);
    const lease = leaseOf(name);
    if (sight.busy) return;
    const isOurs = lease?.spec?.holderIdentity === identity;
    if (!isOurs) lose(name);
    // Written by us before a restart: nobody else has it, so there is nothing to wait for.
    const due = isOurs ? clock.monotonic() - sight.renewedAt >= renewMs : freeFor(lease, sight) >= delayMs;
    if (due) start(sight, () => write(name, lease, sight));
  }

  function start(sight: Sight, work: () => Promise<void>): void {
    sight.busy = true;
    const done = work().finally(() => {
      sight.busy = false;
      pending.delete(done);
    });
    pending.add(done);
  }

  async function write(name: string, lease: Lease | undefined, sight: Sight): Promise<void> {
    const sentAt = clock.monotonic();
    try {
      const next = leaseWith(name, lease);
      leases.remember(lease ? await client.update(LEASE, next) : await client.create(LEASE, next));
      take(name, sight, sentAt);
    } catch (error) {
      const lost = isConflict(error) || isAlreadyExists(error) || isNotFound(error);
      // Who has it now is on its way by the watch. While no server answers what is ours stays ours: to answer for
      // an address beside somebody else does less harm than that nobody does.
      if (!lost) log.debug('a lease could not be written', { lease: name, error: errorText(error) });
      await clock.sleep(lost ? TICK : renewMs / 2);
    }
  }

  function leaseWith(name: string, before: Lease | undefined): Lease {
    const now = new Date(clock.now()).toISOString().replace('Z', '000Z');
    const isOurs = before?.spec?.holderIdentity === identity;
    const transitions = (before?.spec?.leaseTransitions ?? 0) + (before && !isOurs ? 1 : 0);
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: before?.metadata ?? { name, namespace, labels: { ...deps.labels } },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.round(durationMs / 1000),
        acquireTime: (isOurs ? before?.spec?.acquireTime : undefined) ?? now,
        renewTime: now,
        leaseTransitions: transitions,
      },
    };
  }

  /** The Lease goes, so that others need not wait for its end. */
  async function release(name: string): Promise<void> {
    lose(name);
    const lease = leaseOf(name);
    if (lease?.spec?.holderIdentity !== identity) return;
    const { uid, resourceVersion } = lease.metadata;
    await client
      .delete(LEASE, name, namespace, { preconditions: { uid, resourceVersion } })
      .catch((error: unknown) =>
        log.debug('a lease could not be given up', { lease: name, error: errorText(error) }),
      );
  }

  function tick(): void {
    for (const [name, { delayMs }] of wanted) step(name, delayMs);
    for (const [name, sight] of sights) {
      if (wanted.has(name) || sight.busy) continue;
      sights.delete(name);
      if (held.has(name)) start(sight, () => release(name));
    }
  }

  return {
    held,
    want(names) {
      wanted = names;
      if (names.size > 0) asked.resolve();
    },
    async run(signal) {
      await leases.synced();
      signal.addEventListener('abort', () => asked.resolve(), { once: true });
      while (!signal.aborted) {
        asked = Promise.withResolvers();
        tick();
        await (wanted.size + sights.size > 0 ? clock.sleep(TICK, signal).catch(() => {}) : asked.promise);
      }
      await Promise.all(pending);
      await Promise.all([...held].map(release));
    },
  };
}
