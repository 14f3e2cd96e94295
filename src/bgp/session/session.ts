/**
 * One connection to a peer, from its first octet to its last: OpenSent, OpenConfirm, Established (RFC 4271
 * section 8.2.2). Which of two connections stays, and what comes after the end, is the peer's to say (peer.ts).
 */
import type { Timers } from '../timers.ts';
import type { Wire } from '../transport.ts';
import type { DecodeContext } from '../wire/attribute-decode.ts';
import type { Capabilities } from '../wire/capabilities.ts';
import { type AddressFamily, AFI, CEASE, ERROR, FSM_ERROR, OPEN_ERROR, SAFI_UNICAST } from '../wire/codes.ts';
import {
  createFramer,
  decodeFrame,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  type Frame,
  type Message,
} from '../wire/message.ts';
import { BgpError, type Notification, notificationText, shutdownNotification } from '../wire/notification.ts';
import type { Open } from '../wire/open.ts';
import type { Update } from '../wire/update-decode.ts';

export type SessionState = 'opensent' | 'openconfirm' | 'established';

/** What both ends agreed on. */
export interface Negotiated extends DecodeContext {
  readonly families: readonly AddressFamily[];
  readonly routeRefresh: boolean;
  readonly holdTime: number;
  readonly peerAs: number;
  readonly peerIdentifier: string;
  readonly gracefulRestart: Capabilities['gracefulRestart'];
}

/** Why a session ended. `lost`: without a word, as when the peer's process died. */
export interface Ending {
  readonly kind: 'lost' | 'received' | 'sent';
  readonly text: string;
  readonly notification?: Notification;
}

export interface SessionSettings {
  readonly open: Open;
  readonly peerAs: number;
  readonly families: readonly AddressFamily[];
  readonly keepAliveSeconds: number | undefined;
}

export interface SessionEvents {
  /** The peer's OPEN is good; false where another connection has been preferred and this one was closed. */
  onOpen(session: Session): boolean;
  onEstablished(session: Session): void;
  onUpdate(session: Session, update: Update): void;
  onRefresh(session: Session, family: AddressFamily): void;
  onDrain(session: Session): void;
  onEnd(session: Session, ending: Ending): void;
}

export interface Session {
  readonly wire: Wire;
  /** Who connected. */
  readonly direction: 'outgoing' | 'incoming';
  readonly state: SessionState;
  /** There once the peer's OPEN has been taken. */
  readonly negotiated: Negotiated | undefined;
  send(message: Uint8Array): void;
  /** Ends it with a NOTIFICATION. */
  close(notification: Notification): void;
  /** Ends it without a word: whoever keeps our routes over a restart does. */
  drop(why: string): void;
}

/** RFC 4271 section 8.2.2: a large value until the peer's OPEN is there. */
const OPEN_HOLD_SECONDS = 240;

export interface SessionDeps {
  wire: Wire;
  direction: Session['direction'];
  settings: SessionSettings;
  events: SessionEvents;
  timers: Timers;
  random(): number;
}

export function startSession(deps: SessionDeps): Session {
  const { wire, direction, settings, events, timers, random } = deps;
  let state: SessionState = 'opensent';
  let negotiated: Negotiated | undefined;
  let isOver = false;
  let cancelHold = () => {};
  let cancelKeepalive = () => {};
  const framer = createFramer();

  const session: Session = {
    wire,
    direction,
    get state() {
      return state;
    },
    get negotiated() {
      return negotiated;
    },
    send: (message) => wire.send(message),
    close: (notification) => fail(notification, notificationText(notification)),
    drop: (why) => end({ kind: 'lost', text: why }),
  };

  function end(ending: Ending): void {
    if (isOver) return;
    isOver = true;
    cancelHold();
    cancelKeepalive();
    wire.close();
    events.onEnd(session, ending);
  }

  function fail(notification: Notification, text: string): void {
    if (isOver) return;
    wire.send(encodeNotification(notification));
    end({ kind: 'sent', text, notification });
  }

  function holdFor(seconds: number): void {
    cancelHold();
    cancelHold = () => {};
    if (seconds === 0) return;
    cancelHold = timers.after(seconds * 1000, () => {
      const text = `Hold Timer Expired: nothing was heard from the peer for ${seconds} s`;
      fail({ code: ERROR.HOLD_TIMER, subcode: 0, data: new Uint8Array() }, text);
    });
  }

  function keepAlive(): void {
    wire.send(encodeKeepalive());
    const holdTime = negotiated?.holdTime ?? 0;
    if (holdTime === 0) return;
    const third = holdTime / 3;
    const seconds = Math.min(third, settings.keepAliveSeconds ?? third);
    // RFC 4271 section 10: peers must not fall into step.
    cancelKeepalive = timers.after(seconds * 1000 * (0.75 + random() / 4), keepAlive);
  }

  function takeOpen(open: Open): void {
    const agreed = negotiate(open, settings);
    negotiated = agreed;
    if (!events.onOpen(session) || isOver) return;
    state = 'openconfirm';
    holdFor(agreed.holdTime);
    keepAlive();
  }

  function unexpected(message: Message): never {
    const subcode = {
      opensent: FSM_ERROR.OPEN_SENT,
      openconfirm: FSM_ERROR.OPEN_CONFIRM,
      established: FSM_ERROR.ESTABLISHED,
    }[state];
    throw new BgpError(ERROR.FSM, subcode, message.type.toUpperCase());
  }

  function take(message: Message): void {
    if (message.type === 'notification') {
      const text = notificationText(message.notification);
      return end({ kind: 'received', text, notification: message.notification });
    }
    if (state === 'opensent') return message.type === 'open' ? takeOpen(message.open) : unexpected(message);
    if (message.type === 'open') return unexpected(message);
    if (state === 'openconfirm') {
      if (message.type !== 'keepalive') return unexpected(message);
      state = 'established';
      holdFor(negotiated?.holdTime ?? 0);
      return events.onEstablished(session);
    }
    holdFor(negotiated?.holdTime ?? 0);
    if (message.type === 'update') events.onUpdate(session, message.update);
    else if (message.type === 'route-refresh' && message.family) events.onRefresh(session, message.family);
  }

  const plain: DecodeContext = { fourOctetAs: true, external: true, extendedNextHop: false };
  const takeFrame = (frame: Frame) => take(decodeFrame(frame, negotiated ?? plain));

  wire.listen({
    onData(data) {
      if (isOver) return;
      try {
        for (const frame of framer.push(data)) {
          takeFrame(frame);
          if (isOver) return;
        }
      } catch (error) {
        if (!(error instanceof BgpError)) throw error;
        fail(error.notification, error.message);
      }
    },
    onDrain: () => {
      if (!isOver) events.onDrain(session);
    },
    onClose: (why) => end({ kind: 'lost', text: why }),
  });
  wire.send(encodeOpen(settings.open));
  holdFor(OPEN_HOLD_SECONDS);
  return session;
}

/** @throws BgpError what of the peer's OPEN does not fit ours */
function negotiate(theirs: Open, { open: ours, peerAs, families }: SessionSettings): Negotiated {
  if (theirs.as !== peerAs) {
    const told = Uint8Array.of((theirs.as >> 8) & 255, theirs.as & 255);
    const data = theirs.as > 0xffff ? new Uint8Array() : told;
    throw new BgpError(
      ERROR.OPEN,
      OPEN_ERROR.BAD_PEER_AS,
      `the peer says AS ${theirs.as}, expected ${peerAs}`,
      data,
    );
  }
  const external = ours.as !== peerAs;
  // RFC 6286: unique within an AS.
  if (!external && theirs.identifier === ours.identifier)
    throw new BgpError(
      ERROR.OPEN,
      OPEN_ERROR.BAD_IDENTIFIER,
      `both ends have the identifier ${ours.identifier}`,
    );
  const { capabilities } = theirs;
  const spoken = capabilities.families ?? ['ipv4'];
  const common = families.filter((family) => spoken.includes(family));
  if (common.length === 0) {
    const wanted = families.map((family) => Uint8Array.of(1, 4, 0, AFI[family], 0, SAFI_UNICAST));
    const detail = `the peer speaks ${spoken.join(' and ') || 'no family known here'}, expected ${families.join(' or ')}`;
    throw new BgpError(ERROR.OPEN, OPEN_ERROR.CAPABILITY, detail, Buffer.concat(wanted));
  }
  return {
    families: common,
    external,
    fourOctetAs: capabilities.fourOctetAs !== undefined && ours.capabilities.fourOctetAs !== undefined,
    extendedNextHop: capabilities.extendedNextHop && ours.capabilities.extendedNextHop,
    routeRefresh: capabilities.routeRefresh,
    holdTime: Math.min(theirs.holdTime, ours.holdTime),
    peerAs: theirs.as,
    peerIdentifier: theirs.identifier,
    gracefulRestart: ours.capabilities.gracefulRestart && capabilities.gracefulRestart,
  };
}

export const cease = (subcode: keyof typeof CEASE, words?: string): Notification =>
  shutdownNotification(CEASE[subcode], words);
