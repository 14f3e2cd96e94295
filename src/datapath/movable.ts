/**
 * A backend that can be exchanged for another one while packets flow. Both are in force for a moment, the new one
 * complete before the old one goes, so that nothing passes that either forbids and nobody is without a path.
 * Connections that one translates are made known to the other before it goes.
 */
import { setImmediate } from 'node:timers/promises';
import { errorText, HeddleError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Backend, PolicyEvent, TranslatedFlow } from './backend.ts';
import { endsText } from './ends.ts';
import type { PlanState } from './plan/tables.ts';

export interface Movable extends Backend {
  /** Connections that the present backend translates and `to` does not go on with: what a move cuts. Others go on. */
  willCut(to: string): Promise<readonly TranslatedFlow[]>;
  /**
   * Resolves when the other backend carries the node alone. Nothing has changed where it rejects.
   * @throws HeddleError what opening or programming the other one throws, `MoveUnfinished` where only the last
   *   step, removing the former, did not succeed
   */
  move(to: string): Promise<void>;
}

export interface MovableDeps {
  /** Before `open` in a move: what of it takes long, beside the event loop. Never rejects. */
  prepare?(name: string): Promise<void>;
  /** @throws HeddleError where this kernel or this build does not have it, by name */
  open(name: string): Backend;
  readonly initial: string;
  /** Whether it goes on with connections that another one translates. Default: it does not. */
  takesOver?(name: string): boolean;
  /** Names of all that may have something in this kernel: what others left is removed after the first prune. */
  used(): readonly string[];
  readonly log: Log;
}

export function createMovableBackend(deps: MovableDeps): Movable {
  const { open, log } = deps;
  let current = open(deps.initial);
  let state: PlanState | undefined;
  let cleaned = false;
  let queue: Promise<unknown> = Promise.resolve();
  const listeners = new Set<(events: readonly PolicyEvent[]) => void>();
  const tell = (events: readonly PolicyEvent[]) => {
    for (const listener of listeners) listener(events);
  };
  let stopEvents: (() => void) | undefined;

  /** One after another: an apply must not meet a backend that goes. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = queue.then(work, work);
    queue = next.catch(() => {});
    return next;
  }

  /** Of a node that changed its backend while no agent ran, or died in the middle of a move. */
  async function removeOthers(): Promise<void> {
    for (const name of deps.used()) {
      if (name === current.name) continue;
      let other: Backend | undefined;
      try {
        other = open(name);
        await other.remove?.();
      } catch (error) {
        // What this kernel cannot have, it has not.
        log.debug('nothing to remove of another data path', { name, error: String(error) });
      } finally {
        other?.close();
      }
    }
  }

  /** Nobody goes without a path because nobody hears of it. */
  function hearCurrent(): void {
    stopEvents?.();
    stopEvents = () => {};
    try {
      stopEvents = current.events(tell);
    } catch (error) {
      log.error('the new data path tells of no verdicts; restarting the agent may help', {
        error: errorText(error),
      });
    }
  }

  /**
   * Both carry packets from `prune` on. Each connection is one's alone: those that begin go to the next one, those that
   * are there stay where they are until the next one knows them.
   */
  async function replaceWith(to: string): Promise<void> {
    if (!state) throw new TypeError('the data path is not pruned yet: prune(state) comes before a move');
    await deps.prepare?.(to);
    const next = open(to);
    const former = current;
    const handOver = createHandover(former, next, state);
    try {
      next.standBack?.('unknown');
      if (former.takeOver && !former.forget) await next.forget?.(state);
      await handOver();
      await next.prune(state);
      former.standBack?.('unknown');
      next.standBack?.('begun');
      await handOver();
      await former.letGo?.();
      next.standBack?.('nothing');
      await handOver();
    } catch (error) {
      await createHandover(next, former, state)().catch((cause: unknown) =>
        log.warn('connections that the other data path had taken may end', { error: errorText(cause) }),
      );
      // Before the next one goes: what it leaves to nobody, nobody judges.
      former.standBack?.('nothing');
      await next.remove?.().catch(() => {});
      next.close();
      throw error;
    }
    current = next;
    if (stopEvents) hearCurrent();
    try {
      await former.remove?.();
      await handOver();
    } catch (cause) {
      throw new HeddleError(
        'MoveUnfinished',
        `${to} carries the node, and ${former.name} is still in the kernel`,
        {
          hint: 'restarting the agent removes it',
          cause,
        },
      );
    } finally {
      former.close();
    }
  }

  async function willCut(to: string): Promise<readonly TranslatedFlow[]> {
    const flows = (await current.translated?.()) ?? [];
    const goesOn = current.handOver !== undefined && deps.takesOver?.(to) === true;
    return goesOn ? flows.filter(({ onlyHere }) => onlyHere) : flows;
  }

  return {
    get name() {
      return current.name;
    },
    get capabilities() {
      return current.capabilities;
    },
    apply: (changes) => inTurn(() => current.apply(changes)),
    prune: (next) =>
      inTurn(async () => {
        state = next;
        const mended = await current.prune(next);
        if (!cleaned) await removeOthers();
        cleaned = true;
        return mended;
      }),
    verify: () => inTurn(() => current.verify()),
    counters: () => current.counters(),
    events(listener) {
      listeners.add(listener);
      stopEvents ??= current.events(tell);
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        stopEvents?.();
        stopEvents = undefined;
      };
    },
    guard: (link) => current.guard?.(link),
    willCut: (to) => inTurn(() => willCut(to)),
    move: (to) => inTurn(() => (to === current.name ? Promise.resolve() : replaceWith(to))),
    remove: () => inTurn(() => current.remove?.() ?? Promise.resolve()),
    get flows() {
      const { flows } = current;
      return flows && (() => inTurn(() => flows.call(current)));
    },
    pressure: () => current.pressure?.() ?? [],
    maps: () => current.maps?.() ?? [],
    drops: () => current.drops?.() ?? new Map(),
    podUse: () => current.podUse?.() ?? [],
    ruleCount: () => current.ruleCount?.() ?? new Map(),
    get probe() {
      return current.probe?.bind(current);
    },
    close() {
      stopEvents?.();
      current.close();
    },
  };
}

const AT_ONCE = 500;

/** Gives the next one what the former translates, each time what is new since. */
function createHandover(former: Backend, next: Backend, state: PlanState): () => Promise<void> {
  const given = new Set<string>();
  return async () => {
    if (!former.handOver || !next.takeOver) return;
    const fresh = (await former.handOver(state)).filter(
      ({ original, reply }) => !given.has(`${endsText(original)} ${endsText(reply)}`),
    );
    for (const { original, reply } of fresh) given.add(`${endsText(original)} ${endsText(reply)}`);
    for (let i = 0; i < fresh.length; i += AT_ONCE) {
      await next.takeOver(fresh.slice(i, i + AT_ONCE), state);
      // Ten thousands may be there, and others want to be served meanwhile.
      await setImmediate();
    }
  };
}
