/** Leases without an owner: links and addresses of attachments that nobody remembers. */
import type { Ipam } from '../ipam/ipam.ts';
import type { Route } from '../kernel/route.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { attachmentOf } from './attachment.ts';
import { hostInterfaceName, isOwned, OWNER_PREFIX } from './names.ts';

export interface OrphanDeps {
  node: Route;
  ipam: Ipam;
  /** Container ids of the attachments that are wanted, or on their way. */
  known: ReadonlySet<string>;
}

export interface Orphan {
  /** `link lxc… of shop/web:uid`, `addresses of shop/web`. */
  readonly what: string;
  /** Removing it is entering it into the book. */
  readonly isBooking?: boolean;
  remove(): Promise<boolean>;
}

/** What no known attachment owns. Links without our mark are left alone. */
export function findOrphans({ node, ipam, known }: OrphanDeps): Orphan[] {
  const attachments = ipam.list().map(({ key, label }) => ({ key, label, attachment: attachmentOf(key) }));
  const isKnown = ({ attachment }: (typeof attachments)[number]) => known.has(attachment.containerId);
  const wanted = new Set(attachments.filter(isKnown).map(({ attachment }) => hostInterfaceName(attachment)));
  return [
    ...attachments
      .filter((each) => !isKnown(each))
      .map(({ key, label }) => ({
        what: `addresses of ${label}`,
        remove: () => ipam.release(key).then(() => true),
      })),
    ...node
      .links()
      .filter(({ name, alias }) => isOwned(alias) && !wanted.has(name))
      .map(({ name, alias }) => ({
        what: `link ${name} of ${alias?.slice(OWNER_PREFIX.length)}`,
        remove: async () => node.deleteLink(name),
      })),
  ];
}

/** Removes all of them; says what that was. */
export async function removeOrphans(deps: OrphanDeps): Promise<string[]> {
  const removed: string[] = [];
  for (const { what, remove } of findOrphans(deps)) if (await remove()) removed.push(what);
  return removed;
}

export interface OrphanWatchDeps {
  node: Route;
  ipam: Ipam;
  known(): Promise<ReadonlySet<string>>;
  /** What else is to be put right, of pods that are there. */
  strays?(known: ReadonlySet<string>): Orphan[];
  everyMs: number;
  clock: Clock;
  log: Log;
  removed(what: string): void;
}

/** From time to time; what is nobody's twice in a row goes. */
export async function watchOrphans(deps: OrphanWatchDeps, signal: AbortSignal): Promise<void> {
  const { node, ipam, clock, log } = deps;
  let suspects = new Set<string>();
  while (!signal.aborted) {
    await clock.sleep(deps.everyMs, signal).catch(() => {});
    if (signal.aborted) return;
    try {
      const known = await deps.known();
      const found = [...findOrphans({ node, ipam, known }), ...(deps.strays?.(known) ?? [])];
      const sure = found.filter(({ what }) => suspects.has(what));
      for (const { what, remove } of sure) {
        if (!(await remove())) continue;
        log.warn('put right what the address book and the kernel did not agree on', { what });
        deps.removed(what);
      }
      suspects = new Set(found.filter((one) => !sure.includes(one)).map(({ what }) => what));
    } catch (error) {
      log.warn('cannot look for what nobody owns', { error: errorText(error) });
    }
  }
}
