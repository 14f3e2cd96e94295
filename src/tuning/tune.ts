/** Profiles on places: a node's own settings in its namespace, settings of the whole machine in the first one. */
import { createLeases, type LeaseBook, type Step } from './leases.ts';
import { fileLedger, type Holder, type Leases, withLedgerLock } from './ledger.ts';
import type { TuningKey, TuningProfile } from './profile.ts';
import { type Scope, sameForm, scopeOf, type Sysctls } from './sysctls.ts';

/** Where settings are leased, by whom, and where that is written down. */
export interface Place {
  /** `node-1`, or `host` for the whole machine. */
  readonly name: string;
  readonly sysctls: Sysctls;
  readonly ledgerPath: string;
  readonly holder: Holder;
}

export interface TuneDeps {
  readonly nodes: readonly Place[];
  /** The machine's first namespace. */
  readonly host: Place;
  isAlive(holder: Holder): boolean;
  now(): number;
}

export interface TuneRow {
  readonly place: string;
  readonly key: string;
  readonly scope: Scope;
  /** Null where the kernel lacks it. */
  readonly now: string | null;
  /** What the profile wants; null for a setting that is leased and not in the profile. */
  readonly profile: string | null;
  /** What it was before the first lease; null where it is not leased. */
  readonly was: string | null;
  readonly reason: string;
  /** Oldest first; the last one's value is in force. */
  readonly holders: readonly string[];
  /** What was done, or with a dry run would be; null where nobody asked. `host`: left out, see `TuneOptions.host`. */
  readonly action: Step['action'] | 'host' | null;
}

export interface TuneOptions {
  readonly dryRun: boolean;
  /** Settings of the whole machine too: they act on everything that runs on it. */
  readonly host: boolean;
}

/** @throws HeddleError `BadLedger`, `Sysctl` */
export function showTuning(deps: TuneDeps, profile: TuningProfile): TuneRow[] {
  return [
    ...deps.nodes.flatMap((place) => rowsOf(deps, place, split(deps, place, profile).own, [])),
    ...rowsOf(deps, deps.host, hostKeys(deps, profile), []),
  ];
}

/**
 * The machine first, then node by node; within one place all of it or nothing.
 * @throws HeddleError `TuningRefused`, `LedgerBusy`, `BadLedger`
 */
export async function applyTuning(
  deps: TuneDeps,
  profile: TuningProfile,
  options: TuneOptions,
): Promise<TuneRow[]> {
  const shared = hostKeys(deps, profile);
  const hostRows = options.host
    ? await change(deps, deps.host, shared, options.dryRun, (book) =>
        book.apply(deps.host.holder, { ...profile, keys: shared }, options),
      )
    : rowsOf(deps, deps.host, shared, []).map((row) => ({ ...row, action: 'host' as const }));
  const rows: TuneRow[] = [];
  for (const place of deps.nodes) {
    const keys = split(deps, place, profile).own;
    const done = await change(deps, place, keys, options.dryRun, (book) =>
      book.apply(place.holder, { ...profile, keys }, options),
    );
    rows.push(...done);
  }
  return [...rows, ...hostRows];
}

/** Ends what the holders of these places lease. @throws HeddleError as `applyTuning` */
export async function resetTuning(deps: TuneDeps, options: TuneOptions): Promise<TuneRow[]> {
  const rows: TuneRow[] = [];
  for (const place of [...deps.nodes, ...(options.host ? [deps.host] : [])]) {
    const done = await change(deps, place, [], options.dryRun, (book) =>
      book.release(({ name }) => name === place.holder.name, options),
    );
    rows.push(...done);
  }
  return rows;
}

/**
 * Gives back what holders that died have leased of the machine. Cheap where nothing is leased.
 * @throws HeddleError `LedgerBusy`, `BadLedger`, `TuningRefused`
 */
export async function endDeadLeases(place: Place, deps: Pick<TuneDeps, 'isAlive' | 'now'>): Promise<Step[]> {
  if (Object.keys(fileLedger(place.ledgerPath).read()).length === 0) return [];
  return withLedgerLock(place.ledgerPath, () => bookOf(place, deps).collect());
}

const bookOf = (place: Place, deps: Pick<TuneDeps, 'isAlive' | 'now'>): LeaseBook =>
  createLeases({
    ledger: fileLedger(place.ledgerPath),
    sysctls: place.sysctls,
    isAlive: deps.isAlive,
    now: deps.now,
  });

/** A dry run takes no lock: it would make the folder. */
async function change(
  deps: TuneDeps,
  place: Place,
  keys: readonly TuningKey[],
  dryRun: boolean,
  act: (book: LeaseBook) => Promise<Step[]>,
): Promise<TuneRow[]> {
  const before = fileLedger(place.ledgerPath).read();
  const book = bookOf(place, deps);
  const steps = dryRun ? await act(book) : await withLedgerLock(place.ledgerPath, () => act(book));
  return rowsOf(deps, place, keys, steps, before);
}

function rowsOf(
  deps: TuneDeps,
  place: Place,
  keys: readonly TuningKey[],
  steps: readonly Step[],
  before: Leases = {},
): TuneRow[] {
  const held = bookOf(place, deps).held();
  const wanted = new Map(keys.map((key) => [key.key, key]));
  const names = new Set([...wanted.keys(), ...Object.keys(held), ...steps.map(({ key }) => key)]);
  return [...names].map((key) => {
    const access = place.sysctls.access(key);
    const entry = held[key] ?? before[key];
    const step = steps.find((each) => each.key === key);
    const asked = wanted.get(key);
    const lease = entry?.leases.at(-1);
    return {
      place: place.name,
      key,
      scope: access === 'missing' ? 'missing' : place === deps.host ? 'host' : 'namespace',
      now: access === 'missing' ? null : place.sysctls.read(key),
      profile: asked ? sameForm(asked.value) : null,
      was: entry?.original ?? null,
      reason: asked?.reason ?? lease?.reason ?? '',
      holders: (held[key]?.leases ?? []).map(({ holder, profile }) => `${holder.name} (${profile})`),
      action: step?.action ?? null,
    };
  });
}

function split(deps: TuneDeps, place: Place, profile: TuningProfile) {
  const scoped = profile.keys.map((key) => ({
    key,
    scope: scopeOf(key.key, place.sysctls, deps.host.sysctls),
  }));
  return {
    // What is nowhere is the node's to refuse, or to leave out.
    own: scoped.filter(({ scope }) => scope !== 'host').map(({ key }) => key),
    shared: scoped.filter(({ scope }) => scope === 'host').map(({ key }) => key),
  };
}

function hostKeys(deps: TuneDeps, profile: TuningProfile): TuningKey[] {
  const [first] = deps.nodes;
  return first ? split(deps, first, profile).shared : [];
}
