/** The frame of every message (RFC 4271 section 4.1), and messages out of a stream of octets. */
import type { DecodeContext } from './attribute-decode.ts';
import {
  type AddressFamily,
  AFI,
  ERROR,
  familyOf,
  HEADER_ERROR,
  HEADER_LENGTH,
  MAX_MESSAGE,
  MESSAGE,
  SAFI_UNICAST,
} from './codes.ts';
import { BgpError, decodeNotification, encodeNotificationBody, type Notification } from './notification.ts';
import { decodeOpen, encodeOpenBody, type Open } from './open.ts';
import { decodeUpdate, type Update } from './update-decode.ts';

export type Message =
  | { readonly type: 'open'; readonly open: Open }
  | { readonly type: 'update'; readonly update: Update }
  | { readonly type: 'notification'; readonly notification: Notification }
  | { readonly type: 'keepalive' }
  /** `family` is undefined for one that is not spoken here. */
  | { readonly type: 'route-refresh'; readonly family: AddressFamily | undefined };

export interface Frame {
  readonly type: number;
  readonly body: Uint8Array;
}

export function encodeMessage(type: number, body: Uint8Array = new Uint8Array()): Uint8Array {
  const out = Buffer.alloc(HEADER_LENGTH + body.length, 0xff);
  out.writeUInt16BE(out.length, 16);
  out[18] = type;
  out.set(body, HEADER_LENGTH);
  return out;
}

export const encodeOpen = (open: Open): Uint8Array => encodeMessage(MESSAGE.OPEN, encodeOpenBody(open));
export const encodeKeepalive = (): Uint8Array => encodeMessage(MESSAGE.KEEPALIVE);
export const encodeNotification = (notification: Notification): Uint8Array =>
  encodeMessage(MESSAGE.NOTIFICATION, encodeNotificationBody(notification));
/** RFC 2918. */
export const encodeRouteRefresh = (family: AddressFamily): Uint8Array =>
  encodeMessage(MESSAGE.ROUTE_REFRESH, Uint8Array.of(0, AFI[family], 0, SAFI_UNICAST));

/** Least length of each type, header and all; exact for KEEPALIVE. */
const least: Readonly<Record<number, number>> = {
  [MESSAGE.OPEN]: 29,
  [MESSAGE.UPDATE]: 23,
  [MESSAGE.NOTIFICATION]: 21,
  [MESSAGE.KEEPALIVE]: 19,
  [MESSAGE.ROUTE_REFRESH]: 23,
};

export interface Framer {
  /** Whole messages, in order. @throws BgpError Message Header Error, for what cannot be a message any more */
  push(data: Uint8Array): Generator<Frame>;
}

export function createFramer(): Framer {
  let rest: Buffer = Buffer.alloc(0);
  return {
    *push(data) {
      rest = rest.length === 0 ? Buffer.from(data) : Buffer.concat([rest, data]);
      while (rest.length >= HEADER_LENGTH) {
        const length = checkHeader(rest);
        if (rest.length < length) return;
        const frame = { type: rest[18] ?? 0, body: rest.subarray(HEADER_LENGTH, length) };
        rest = rest.subarray(length);
        yield frame;
      }
    },
  };
}

/** The message's length. RFC 4271 section 6.1. */
function checkHeader(data: Buffer): number {
  const header = (subcode: number, detail: string, more?: Uint8Array) =>
    new BgpError(ERROR.HEADER, subcode, detail, more);
  for (let i = 0; i < 16; i++)
    if (data[i] !== 0xff) throw header(HEADER_ERROR.NOT_SYNCHRONIZED, 'the marker is not all ones');
  const length = data.readUInt16BE(16);
  const lengthBytes = Uint8Array.from(data.subarray(16, 18));
  if (length < HEADER_LENGTH || length > MAX_MESSAGE)
    throw header(HEADER_ERROR.BAD_LENGTH, `${length} octets`, lengthBytes);
  const type = data[18] ?? 0;
  const expected = least[type];
  if (expected === undefined) throw header(HEADER_ERROR.BAD_TYPE, `type ${type}`, Uint8Array.of(type));
  if (length < expected || (type === MESSAGE.KEEPALIVE && length !== expected))
    throw header(HEADER_ERROR.BAD_LENGTH, `${length} octets for type ${type}`, lengthBytes);
  return length;
}

/** @throws BgpError, never anything else, whatever the octets */
export function decodeFrame({ type, body }: Frame, context: DecodeContext): Message {
  switch (type) {
    case MESSAGE.OPEN:
      return { type: 'open', open: decodeOpen(body) };
    case MESSAGE.UPDATE:
      return { type: 'update', update: decodeUpdate(body, context) };
    case MESSAGE.NOTIFICATION:
      return { type: 'notification', notification: decodeNotification(body) };
    case MESSAGE.ROUTE_REFRESH:
      return { type: 'route-refresh', family: refreshFamily(body) };
    default:
      return { type: 'keepalive' };
  }
}

/** Requests with a list of filters (RFC 5291) are for those who announced that they take them. */
function refreshFamily(body: Uint8Array): AddressFamily | undefined {
  if (body.length !== 4) {
    const length = body.length + HEADER_LENGTH;
    const data = Uint8Array.of(length >> 8, length & 255);
    throw new BgpError(
      ERROR.HEADER,
      HEADER_ERROR.BAD_LENGTH,
      `ROUTE-REFRESH of ${length} octets, expected 23`,
      data,
    );
  }
  return familyOf((body[0] ?? 0) * 256 + (body[1] ?? 0), body[3] ?? 0);
}
