/**
 * Leases on the settings of one namespace. Several may hold the same setting: the newest one's value is in force,
 * the last to go puts back what was there before the first. Every change is in the ledger before it is in the
 * kernel, so any moment is one that `collect` can mend.
 */
import { errorText, HeddleError } from '../lib/errors.ts';
import type { Holder, Lease, LeasedKey, Leases, Ledger } from './ledger.ts';
import type { TuningKey, TuningProfile } from './profile.ts';
import { sameForm, type Sysctls } from './sysctls.ts';

/**
 * `leave`: somebody else has changed it since, so it is not put back. `skip`: an optional setting that this kernel
 * lacks. `none`: nothing is to be done.
 */
export type Action = 'write' | 'restore' | 'leave' | 'skip' | 'none';

export interface Step {
  readonly key: string;
  readonly action: Action;
  readonly from: string | undefined;
  readonly to: string | undefined;
}

export interface LeasesDeps {
  readonly ledger: Ledger;
  readonly sysctls: Sysctls;
  /** Whether a holder with a process still runs. */
  isAlive(holder: Holder): boolean;
  /** Milliseconds since 1970. */
  now(): number;
}

export interface LeaseOptions {
  /** Say what would be done; nothing is written. */
  readonly dryRun?: boolean;
}

export interface LeaseBook {
  /**
   * The holder's leases become those of the profile: all of them or, with an error, none changes.
   * @throws HeddleError `TuningRefused`
   */
  apply(holder: Holder, profile: TuningProfile, options?: LeaseOptions): Promise<Step[]>;
  /** Ends the leases of holders that `whose` picks. @throws HeddleError `TuningRefused` */
  release(whose: (holder: Holder) => boolean, options?: LeaseOptions): Promise<Step[]>;
  /** Ends what those that died held, and what a crash left half done. */
  collect(): Promise<Step[]>;
  /** Of holders that live. */
  held(): Leases;
}

/** The caller keeps others from the ledger meanwhile (`withLedgerLock`). */
export function createLeases(deps: LeasesDeps): LeaseBook {
  const { ledger, sysctls } = deps;

  const living = (leases: Leases): Leases => keepLeases(leases, deps.isAlive);

  function lease(holder: Holder, profile: TuningProfile, key: TuningKey): Lease {
    const since = new Date(deps.now()).toISOString();
    return { holder, profile: profile.name, value: sameForm(key.value), reason: key.reason, since };
  }

  function refuseUnwritable(keys: readonly TuningKey[]): { keys: TuningKey[]; skipped: Step[] } {
    const skipped: Step[] = [];
    const usable = keys.filter((key) => {
      const access = sysctls.access(key.key);
      if (access === 'writable') return true;
      if (access === 'read-only')
        throw refused(key, 'it belongs to the whole machine and only the first namespace may set it');
      if (!key.optional) throw refused(key, 'this kernel has no such setting', MISSING_HINT);
      skipped.push({ key: key.key, action: 'skip', from: undefined, to: key.value });
      return false;
    });
    return { keys: usable, skipped };
  }

  function planStep(key: string, entry: LeasedKey): Step {
    const newest = entry.leases.at(-1);
    const to = newest?.value ?? entry.original;
    if (sysctls.access(key) === 'missing') return { key, action: 'leave', from: undefined, to };
    const from = sysctls.read(key);
    if (from === to) return { key, action: 'none', from, to };
    if (newest) return { key, action: 'write', from, to };
    return { key, action: entry.ours.includes(from) ? 'restore' : 'leave', from, to };
  }

  async function settle(wanted: Leases, options: LeaseOptions, undo?: Leases): Promise<Step[]> {
    const steps = Object.entries(wanted).map(([key, entry]) => planStep(key, entry));
    if (options.dryRun) return steps;
    await ledger.write(mapEntries(wanted, (entry, key) => intending(entry, steps, key)));
    const failed = perform(steps, undo !== undefined);
    if (failed && undo) {
      await ledger.write(undo);
      throw failed.error;
    }
    await ledger.write(settled(wanted, failed?.keys ?? new Set()));
    if (failed) throw failed.error;
    return steps;
  }

  /** With `whole`, the first refusal takes back what was written before it. */
  function perform(
    steps: readonly Step[],
    whole: boolean,
  ): { error: unknown; keys: Set<string> } | undefined {
    const done: Step[] = [];
    const keys = new Set<string>();
    let first: { error: unknown } | undefined;
    for (const step of steps) {
      if (step.action !== 'write' && step.action !== 'restore') continue;
      try {
        sysctls.write(step.key, step.to ?? '');
        done.push(step);
      } catch (cause) {
        first ??= { error: writeRefused(step, cause) };
        keys.add(step.key);
        if (whole) break;
      }
    }
    if (first && whole) for (const step of done.toReversed()) sysctls.write(step.key, step.from ?? '');
    return first && { error: first.error, keys };
  }

  /** What is held, with the kernel's own words for it; what is not, only where putting it back failed. */
  function settled(wanted: Leases, failed: ReadonlySet<string>): Leases {
    const kept = Object.entries(wanted).filter(([key, { leases }]) => leases.length > 0 || failed.has(key));
    return Object.fromEntries(
      kept.map(([key, entry]) => {
        const value = entry.leases.at(-1)?.value;
        const ours = failed.has(key) || value === undefined ? entry.ours : [value];
        const now = sysctls.access(key) === 'missing' ? [] : [sysctls.read(key)];
        return [key, { ...entry, ours: [...new Set([...ours, ...(failed.has(key) ? [] : now)])] }];
      }),
    );
  }

  return {
    async apply(holder, profile, options = {}) {
      const before = ledger.read();
      const { keys, skipped } = refuseUnwritable(profile.keys);
      const others = keepLeases(before, (each) => deps.isAlive(each) && !sameHolder(each, holder));
      const added = keys.map((key) => {
        const entry = others[key.key];
        const original = entry?.original ?? sysctls.read(key.key);
        const leases = [...(entry?.leases ?? []), lease(holder, profile, key)];
        return [key.key, { original, ours: entry?.ours ?? [], leases }] as const;
      });
      const steps = await settle({ ...others, ...Object.fromEntries(added) }, options, before);
      return [...steps, ...skipped];
    },
    async release(whose, options = {}) {
      return settle(
        keepLeases(ledger.read(), (holder) => deps.isAlive(holder) && !whose(holder)),
        options,
      );
    },
    async collect() {
      const before = ledger.read();
      const after = living(before);
      const idle = Object.entries(after).every(
        ([key, entry]) => entry.leases.length > 0 && entry.leases.length === before[key]?.leases.length,
      );
      return idle ? [] : settle(after, {});
    },
    held: () => living(ledger.read()),
  };
}

const MISSING_HINT =
  'a module brings it (nf_conntrack …): load the module first, or say optional: true for it in the profile';

const sameHolder = (a: Holder, b: Holder): boolean =>
  a.name === b.name && a.pid === b.pid && a.startTime === b.startTime;

/** Keys stay although nobody holds them any more: they are to be put back. */
const keepLeases = (all: Leases, keep: (holder: Holder) => boolean): Leases =>
  mapEntries(all, (entry) => ({ ...entry, leases: entry.leases.filter(({ holder }) => keep(holder)) }));

function mapEntries(all: Leases, fn: (entry: LeasedKey, key: string) => LeasedKey): Leases {
  return Object.fromEntries(Object.entries(all).map(([key, entry]) => [key, fn(entry, key)]));
}

/** From here on the value to come may be found in the kernel, and is ours. */
function intending(entry: LeasedKey, steps: readonly Step[], key: string): LeasedKey {
  const step = steps.find((each) => each.key === key);
  if (step?.action !== 'write' || step.to === undefined) return entry;
  return { ...entry, ours: [...new Set([...entry.ours, step.to])] };
}

const refused = ({ key, value }: TuningKey, why: string, hint?: string): HeddleError =>
  new HeddleError('TuningRefused', `${key} = ${value} cannot be set: ${why}`, { hint });

function writeRefused({ key, to }: Step, cause: unknown): HeddleError {
  const words = errorText(cause);
  const hint = /EROFS|EACCES|EPERM/.test(words)
    ? '/proc/sys is read-only here, as in most containers: run on the machine itself, or privileged'
    : /EINVAL|ERANGE/.test(words)
      ? 'the kernel does not take this value; nothing was changed'
      : undefined;
  return new HeddleError('TuningRefused', `${key} = ${to ?? ''} was refused`, { hint, cause });
}
