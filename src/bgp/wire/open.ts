/** OPEN messages (RFC 4271 section 4.2, RFC 5492, RFC 6793, RFC 9072 to read long parameters). */
import { formatAddress, fromBytes, parseAddress, toBytes } from '../../lib/ip.ts';
import { type Capabilities, decodeCapabilities, encodeCapabilities } from './capabilities.ts';
import { AS_TRANS, ERROR, OPEN_ERROR } from './codes.ts';
import { BgpError } from './notification.ts';

export interface Open {
  /** Four octets where the peer says so. */
  readonly as: number;
  /** Seconds; 0 or at least 3. */
  readonly holdTime: number;
  /** As an IPv4 address. */
  readonly identifier: string;
  readonly capabilities: Capabilities;
}

const VERSION = 4;
const PARAMETER_CAPABILITIES = 2;
const EXTENDED = 255;

export function encodeOpenBody(open: Open): Uint8Array {
  const capabilities = encodeCapabilities(open.capabilities);
  const header = Buffer.alloc(10);
  header[0] = VERSION;
  header.writeUInt16BE(open.as > 0xffff ? AS_TRANS : open.as, 1);
  header.writeUInt16BE(open.holdTime, 3);
  header.set(toBytes(parseAddress(open.identifier)), 5);
  if (capabilities.length === 0) return header;
  header[9] = capabilities.length + 2;
  return Buffer.concat([header, Uint8Array.of(PARAMETER_CAPABILITIES, capabilities.length), capabilities]);
}

/** @throws BgpError what RFC 4271 section 6.2 says for each field */
export function decodeOpen(body: Uint8Array): Open {
  const data = Buffer.from(body);
  if (data[0] !== VERSION)
    throw new BgpError(
      ERROR.OPEN,
      OPEN_ERROR.VERSION,
      `version ${data[0]}, expected 4`,
      Uint8Array.of(0, VERSION),
    );
  const capabilities = decodeCapabilities(capabilityList(data));
  const as = capabilities.fourOctetAs ?? data.readUInt16BE(1);
  if (as === 0) throw new BgpError(ERROR.OPEN, OPEN_ERROR.BAD_PEER_AS, 'AS 0 (RFC 7607)');
  const holdTime = data.readUInt16BE(3);
  if (holdTime === 1 || holdTime === 2)
    throw new BgpError(ERROR.OPEN, OPEN_ERROR.HOLD_TIME, `${holdTime} s, expected 0 or at least 3`);
  const identifier = formatAddress(fromBytes(data.subarray(5, 9)));
  if (identifier === '0.0.0.0') throw new BgpError(ERROR.OPEN, OPEN_ERROR.BAD_IDENTIFIER, identifier);
  return { as, holdTime, identifier, capabilities };
}

/** The contents of all parameters of capabilities, joined. */
function capabilityList(data: Buffer): Uint8Array {
  const { from, extended } = parametersAt(data);
  const lists: Uint8Array[] = [];
  const header = extended ? 3 : 2;
  for (let at = from; at < data.length; ) {
    if (at + header > data.length) throw unspecific('an optional parameter is cut off');
    const length = extended ? data.readUInt16BE(at + 1) : (data[at + 1] ?? 0);
    if (at + header + length > data.length) throw unspecific('an optional parameter is cut off');
    if (data[at] !== PARAMETER_CAPABILITIES)
      throw new BgpError(ERROR.OPEN, OPEN_ERROR.OPTIONAL_PARAMETER, `parameter ${data[at]}`);
    lists.push(data.subarray(at + header, at + header + length));
    at += header + length;
  }
  return Buffer.concat(lists);
}

function parametersAt(data: Buffer): { from: number; extended: boolean } {
  const extended = data[9] !== 0 && data[10] === EXTENDED && data.length >= 13;
  const length = extended ? data.readUInt16BE(11) : (data[9] ?? 0);
  const from = extended ? 13 : 10;
  if (from + length !== data.length)
    throw unspecific(`parameters of ${length} octets, ${data.length - from} there`);
  return { from, extended };
}

/** Subcode 0: "unspecific" (RFC 4271 section 6.2). */
const unspecific = (detail: string) => new BgpError(ERROR.OPEN, 0, detail);
