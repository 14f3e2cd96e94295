/** NOTIFICATION messages: why a session ends (RFC 4271 section 4.5, RFC 9003 for the words of a shutdown). */
import { formatAddress, fromBytes } from '../../lib/ip.ts';
import { CEASE, ERROR, errorName, OPEN_ERROR } from './codes.ts';

export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

/** Thrown by decoders for what must end the session: `notification` goes to the peer, `message` to the user. */
export class BgpError extends Error {
  readonly notification: Notification;

  constructor(code: number, subcode: number, detail: string, data: Uint8Array = new Uint8Array()) {
    super(`${errorName(code, subcode)}${detail === '' ? '' : ` (${detail})`}`);
    this.name = 'BgpError';
    this.notification = { code, subcode, data };
  }
}

/** RFC 9003: at most 255 octets of UTF-8; what is longer is cut at a character. */
const MAX_COMMUNICATION = 255;

export function shutdownNotification(subcode: number, communication = ''): Notification {
  let text = Buffer.from(communication, 'utf8');
  for (let length = MAX_COMMUNICATION; text.length > MAX_COMMUNICATION; length--) {
    // A continuation octet (10xxxxxx) at the cut belongs to the character before it.
    if (((text[length] ?? 0) & 0xc0) !== 0x80) text = text.subarray(0, length);
  }
  const data = text.length === 0 ? new Uint8Array() : Buffer.concat([Uint8Array.of(text.length), text]);
  return { code: ERROR.CEASE, subcode, data };
}

const hasCommunication = ({ code, subcode }: Notification): boolean =>
  code === ERROR.CEASE && (subcode === CEASE.SHUTDOWN || subcode === CEASE.RESET);

/** Undefined where there is none, or where its length lies. Control characters become spaces: it goes to logs. */
export function shutdownCommunication(notification: Notification): string | undefined {
  const [length = 0] = notification.data;
  if (!hasCommunication(notification) || length === 0 || notification.data.length < 1 + length)
    return undefined;
  const text = Buffer.from(notification.data.subarray(1, 1 + length)).toString('utf8');
  return text.replaceAll(/\p{Cc}/gu, ' ');
}

/** One line for logs and status, with what the data say where that is known. */
export function notificationText(notification: Notification): string {
  const { code, subcode, data } = notification;
  const name = errorName(code, subcode);
  const words = shutdownCommunication(notification);
  if (words !== undefined) return `${name} ("${words}")`;
  if (data.length === 0) return name;
  // Two octets or four: RFC 4271 does not say that there are any.
  if (code === ERROR.OPEN && subcode === OPEN_ERROR.BAD_PEER_AS && (data.length === 2 || data.length === 4))
    return `${name} (AS ${Buffer.from(data).readUIntBE(0, data.length)})`;
  if (code === ERROR.OPEN && subcode === OPEN_ERROR.BAD_IDENTIFIER && data.length === 4)
    return `${name} (${formatAddress(fromBytes(data))})`;
  return `${name} (data ${Buffer.from(data.subarray(0, 32)).toString('hex')})`;
}

export const encodeNotificationBody = ({ code, subcode, data }: Notification): Uint8Array =>
  Buffer.concat([Uint8Array.of(code, subcode), data]);

/** `body` has two octets at least: the framer has seen to that. */
export function decodeNotification(body: Uint8Array): Notification {
  return { code: body[0] ?? 0, subcode: body[1] ?? 0, data: Uint8Array.from(body.subarray(2)) };
}
