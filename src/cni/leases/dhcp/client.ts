/** The client's side of RFC 2131: getting a lease, keeping it, giving it back. What is said when is leases.ts' business. */
import { randomInt } from 'node:crypto';
import { parseAddress, toBytes } from '../../../lib/ip.ts';
import { CniCode, CniError } from '../../error.ts';
import type { DhcpConfig } from './config.ts';
import type { Line } from './exchange.ts';
import { EVERYBODY } from './frame.ts';
import { type Given, givenBy } from './lease.ts';
import { encodeMessage, OPTION, TYPE } from './message.ts';

export interface Client {
  /** The same for ever: by it the server knows the attachment again (RFC 2132 section 9.14). */
  readonly id: string;
  readonly config: DhcpConfig;
}

/** What must be known to keep a lease. */
export interface Held {
  /** Without length. */
  readonly address: string;
  readonly server: string;
  /** Link address that the server's answers come from. */
  readonly serverMac: string;
}

export type Granted = Given & { readonly serverMac: string };

/** RFC 2131 section 4.1: 4 s, then twice as long each time, each a second more or less. */
const FIRST_WAIT = 4_000;
const TRIES = 4;
const LARGEST = 1500;

const anywhere = '0.0.0.0';
const bytes = (address: string): Uint8Array => toBytes(parseAddress(address));

function optionsOf({ id, config }: Client, more: readonly (readonly [number, Uint8Array])[] = []) {
  const largest = Buffer.alloc(2);
  largest.writeUInt16BE(LARGEST);
  // Type 0: not a link address.
  const identity = Buffer.concat([Buffer.of(0), Buffer.from(id).subarray(0, 254)]);
  return [
    [OPTION.CLIENT, identity] as const,
    ...more,
    [OPTION.LARGEST, largest] as const,
    ...config.provide.map(([code, data]) => [code, Buffer.from(data)] as const),
    ...(config.ask.length > 0 ? [[OPTION.ASK, Uint8Array.from(config.ask)] as const] : []),
  ];
}

/** @param preferred address to ask for. @throws CniError where no server gives one in time */
export async function acquire(
  line: Line,
  client: Client,
  preferred?: string,
  signal?: AbortSignal,
): Promise<Granted> {
  let refused = 0;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    if (signal?.aborted) break;
    const wait = FIRST_WAIT * 2 ** Math.min(attempt, 2) + randomInt(-1_000, 1_001);
    const outcome = await tryOnce(line, client, { wait, preferred, signal });
    if (outcome === 'refused') refused++;
    else if (outcome) return outcome;
  }
  const words =
    refused > 0 ? `${refused} times a server took its offer back` : 'no DHCP server answers on the link';
  throw new CniError(CniCode.tryAgain, `there is no lease: ${words}`);
}

interface Try {
  readonly wait: number;
  readonly preferred: string | undefined;
  readonly signal: AbortSignal | undefined;
}

async function tryOnce(
  line: Line,
  client: Client,
  { wait, preferred, signal }: Try,
): Promise<Granted | 'refused' | undefined> {
  const xid = randomInt(0, 2 ** 32 - 1);
  const say = { xid, secs: 0, mac: line.mac, broadcast: true };
  const wish = preferred === undefined ? [] : [[OPTION.REQUESTED, bytes(preferred)] as const];
  const heard = line.hear(
    wait,
    (told) =>
      told.xid === xid && told.mac === line.mac && told.type === TYPE.OFFER && givenBy(told) !== undefined,
    signal,
  );
  line.send(
    anywhere,
    EVERYBODY,
    encodeMessage({ ...say, type: TYPE.DISCOVER, options: optionsOf(client, wish) }),
  );
  const offer = await heard;
  const offered = offer && givenBy(offer);
  if (!offer || !offered) return undefined;
  const answer = line.hear(wait, (told) => isAnswer(told, xid, line.mac), signal);
  const request = optionsOf(client, [
    [OPTION.REQUESTED, bytes(offer.address)],
    [OPTION.SERVER, bytes(offered.server)],
  ]);
  line.send(anywhere, EVERYBODY, encodeMessage({ ...say, type: TYPE.REQUEST, options: request }));
  const told = await answer;
  if (told?.type === TYPE.NAK) return 'refused';
  const given = told && givenBy(told, client.config.priority);
  return given && told.address === offer.address ? { ...given, serverMac: told.from } : undefined;
}

const isAnswer = (told: { type: number; xid: number; mac: string }, xid: number, mac: string): boolean =>
  told.xid === xid && told.mac === mac && (told.type === TYPE.ACK || told.type === TYPE.NAK);

/**
 * Section 4.3.2: neither the server nor the address is named, ciaddr says it. The server alone is asked (renewing), or
 * whoever hears it (rebinding). Undefined: nobody answered.
 */
export async function prolong(
  line: Line,
  client: Client,
  held: Held,
  { rebinding, wait, signal }: { rebinding: boolean; wait: number; signal?: AbortSignal },
): Promise<Granted | 'refused' | undefined> {
  const xid = randomInt(0, 2 ** 32 - 1);
  const to = rebinding ? EVERYBODY : { mac: held.serverMac, address: held.server };
  const answer = line.hear(wait, (told) => isAnswer(told, xid, line.mac), signal);
  const say = { xid, secs: 0, mac: line.mac, address: held.address, broadcast: false };
  line.send(held.address, to, encodeMessage({ ...say, type: TYPE.REQUEST, options: optionsOf(client) }));
  const told = await answer;
  if (told?.type === TYPE.NAK) return 'refused';
  const given = told && givenBy(told, client.config.priority);
  if (!given) return undefined;
  return told.address === held.address ? { ...given, serverMac: told.from } : 'refused';
}

/** Nobody answers to it (section 4.4.6). */
export function giveBack(line: Line, client: Client, held: Held): void {
  const options = [
    [OPTION.CLIENT, Buffer.concat([Buffer.of(0), Buffer.from(client.id).subarray(0, 254)])] as const,
    [OPTION.SERVER, bytes(held.server)] as const,
  ];
  const say = {
    xid: randomInt(0, 2 ** 32 - 1),
    secs: 0,
    mac: line.mac,
    address: held.address,
    broadcast: false,
  };
  const to = { mac: held.serverMac, address: held.server };
  line.send(held.address, to, encodeMessage({ ...say, type: TYPE.RELEASE, options }));
}
