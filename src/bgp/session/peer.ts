/**
 * The machine of one peer (RFC 4271 section 8): when to connect, which of two connections stays (section 6.8), and
 * when to start again. Idle and Connect and Active are here; the rest is session.ts.
 */
import { type Backoff, createBackoff } from '../../lib/backoff.ts';
import { errnoCode, errorText } from '../../lib/errors.ts';
import { compareBytes } from '../order.ts';
import type { Timers } from '../timers.ts';
import type { Wire } from '../transport.ts';
import { CEASE } from '../wire/codes.ts';
import type { Notification } from '../wire/notification.ts';
import {
  cease,
  type Ending,
  type Session,
  type SessionEvents,
  type SessionSettings,
  type SessionState,
  startSession,
} from './session.ts';

export type PeerState = 'idle' | 'connect' | 'active' | SessionState;

export interface PeerError {
  /** `BgpHoldTimer`, `BgpOpenRefused` … as in docs/errors.md. */
  readonly code: string;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface PeerMachine {
  readonly state: PeerState;
  /** Milliseconds since 1970 of the last change of state. */
  readonly since: number;
  readonly lastError: PeerError | undefined;
  /** Sessions that were established and ended. */
  readonly restarts: number;
  readonly established: Session | undefined;
  start(): void;
  /** Somebody connected from the peer's address. */
  accept(wire: Wire): void;
  /** Ends all and starts again: `notification` goes to the peer. */
  reset(notification: Notification): void;
  /** For good. Without a notification the connection just breaks: peers keep the routes over a graceful restart. */
  stop(notification?: Notification): void;
}

export interface PeerMachineDeps {
  settings(): SessionSettings;
  localIdentifier: string;
  passive: boolean;
  /** Most milliseconds between attempts to connect. */
  connectRetryMs: number;
  dial(signal: AbortSignal): Promise<Wire>;
  /** Why a connection to the peer may have timed out. */
  dialHint(): string | undefined;
  events: Pick<SessionEvents, 'onUpdate' | 'onRefresh' | 'onDrain'> & {
    onUp(session: Session): void;
    /** Of a session that was established. `restarted`: the peer is back already, on another connection. */
    onDown(session: Session, ending: Ending, restarted: boolean): void;
    onState(state: PeerState): void;
  };
  timers: Timers;
  random(): number;
}

const FIRST_RETRY_MS = 500;
/** RFC 4271 section 8.1.1, DampPeerOscillations: the longest rest after an error. */
const MOST_IDLE_MS = 60_000;
const order: readonly SessionState[] = ['opensent', 'openconfirm', 'established'];

export function createPeerMachine(deps: PeerMachineDeps): PeerMachine {
  const { timers, events, random, passive } = deps;
  const sessions = new Set<Session>();
  const retry: Backoff = createBackoff(FIRST_RETRY_MS, deps.connectRetryMs, random);
  const idle: Backoff = createBackoff(FIRST_RETRY_MS, MOST_IDLE_MS, random);
  let dialing: AbortController | undefined;
  let cancelRetry = () => {};
  let phase: 'stopped' | 'resting' | 'running' = 'stopped';
  let since = timers.now();
  let told: PeerState = 'idle';
  let lastError: PeerError | undefined;
  let restarts = 0;

  const established = () => [...sessions].find((session) => session.state === 'established');

  function state(): PeerState {
    let best = -1;
    for (const session of sessions) best = Math.max(best, order.indexOf(session.state));
    if (best >= 0) return order[best] ?? 'opensent';
    if (phase !== 'running') return 'idle';
    return dialing ? 'connect' : 'active';
  }

  function changed(): void {
    const now = state();
    if (now === told) return;
    told = now;
    since = timers.now();
    events.onState(now);
  }

  const remember = (code: string, text: string) => (lastError = { code, text, at: timers.now() });

  function run(): void {
    phase = 'running';
    if (!passive) connect();
    changed();
  }

  function connect(): void {
    if (phase !== 'running' || dialing || sessions.size > 0) return;
    const attempt = new AbortController();
    dialing = attempt;
    deps.dial(attempt.signal).then(
      (wire) => {
        if (attempt.signal.aborted) return wire.close();
        dialing = undefined;
        begin(wire, 'outgoing');
      },
      (error: unknown) => {
        if (attempt.signal.aborted) return;
        dialing = undefined;
        const hint = errnoCode(error) === 'ETIMEDOUT' ? deps.dialHint() : undefined;
        remember('BgpConnect', hint === undefined ? errorText(error) : `${errorText(error)}: ${hint}`);
        retryLater();
        changed();
      },
    );
    changed();
  }

  function retryLater(): void {
    cancelRetry();
    cancelRetry = timers.after(retry.next(), connect);
  }

  function stopDialing(): void {
    cancelRetry();
    cancelRetry = () => {};
    dialing?.abort(new Error('another connection was made'));
    dialing = undefined;
  }

  function begin(wire: Wire, direction: Session['direction']): void {
    const session = startSession({
      wire,
      direction,
      settings: deps.settings(),
      timers,
      random,
      events: { ...events, onOpen, onEstablished, onEnd },
    });
    sessions.add(session);
    changed();
  }

  /** RFC 4271 section 6.8; RFC 4724 section 5 for a peer that is back before its old connection is known to be gone. */
  function onOpen(session: Session): boolean {
    for (const other of sessions) {
      if (other === session || other.state === 'opensent') continue;
      if (
        other.state === 'established' &&
        other.negotiated?.gracefulRestart &&
        session.negotiated?.gracefulRestart
      ) {
        other.drop('the peer has connected again: it restarted');
        continue;
      }
      const loser = other.state === 'established' || isPreferred(other, session) ? session : other;
      loser.close(cease('COLLISION'));
      if (loser === session) return false;
    }
    changed();
    return true;
  }

  /** The connection that the end with the higher identifier began. */
  function isPreferred(one: Session, other: Session): boolean {
    const winner =
      compareBytes(deps.localIdentifier, one.negotiated?.peerIdentifier ?? '') > 0 ? 'outgoing' : 'incoming';
    return one.direction === winner || other.direction !== winner;
  }

  function onEstablished(session: Session): void {
    stopDialing();
    for (const other of sessions) if (other !== session) other.close(cease('COLLISION'));
    retry.reset();
    changed();
    events.onUp(session);
  }

  function onEnd(session: Session, ending: Ending): void {
    const wasUp = session.state === 'established';
    sessions.delete(session);
    const isCollision = ending.notification?.code === 6 && ending.notification.subcode === CEASE.COLLISION;
    if (!isCollision || wasUp) remember(codeOf(session, ending), ending.text);
    if (wasUp) {
      restarts++;
      events.onDown(session, ending, sessions.size > 0);
    }
    if (sessions.size === 0 && phase === 'running') rest(ending, wasUp);
    changed();
  }

  /** Idle for a while after an error, longer each time, so that two ends that disagree do not hurry. */
  function rest(ending: Ending, wasUp: boolean): void {
    stopDialing();
    if (wasUp) idle.reset();
    if (passive || (wasUp && ending.kind === 'lost')) return retrySoon();
    phase = 'resting';
    cancelRetry = timers.after(idle.next(), run);
  }

  function retrySoon(): void {
    if (!passive) cancelRetry = timers.after(FIRST_RETRY_MS * (0.5 + random() / 2), connect);
  }

  function closeAll(notification: Notification | undefined): void {
    stopDialing();
    for (const session of sessions) {
      if (notification) session.close(notification);
      else session.drop('stopped');
    }
  }

  return {
    get state() {
      return state();
    },
    get since() {
      return since;
    },
    get lastError() {
      return lastError;
    },
    get restarts() {
      return restarts;
    },
    get established() {
      return established();
    },
    start: run,
    accept(wire) {
      // Resting holds this end's own attempts back; the peer has rests of its own.
      if (phase === 'stopped') return wire.close();
      // A second one from the same side: the peer has given the first one up.
      for (const session of sessions)
        if (session.direction === 'incoming' && session.state !== 'established')
          session.drop('the peer connected again');
      phase = 'running';
      begin(wire, 'incoming');
    },
    reset(notification) {
      closeAll(notification);
    },
    stop(notification) {
      phase = 'stopped';
      closeAll(notification);
      changed();
    },
  };
}

/** Codes of docs/errors.md for how a session can end. */
function codeOf(session: Session, { kind, notification }: Ending): string {
  if (kind === 'lost') return 'BgpConnectionLost';
  const names: Readonly<Record<number, string>> = {
    1: 'BgpHeader',
    2: 'BgpOpenRefused',
    3: 'BgpUpdateMalformed',
    4: 'BgpHoldTimer',
    5: 'BgpUnexpectedMessage',
    6: 'BgpCease',
  };
  const name = names[notification?.code ?? 0] ?? 'BgpNotification';
  return session.state !== 'established' && name === 'BgpCease' ? 'BgpRejected' : name;
}
