/**
 * Names as a pod resolves them: its resolv.conf, its search path, a datagram from inside its namespace. Nothing
 * is cached, because a probe wants to know how it is now.
 */
import { createSocket } from 'node:dgram';
import { decodeMessage, encodeMessage, type Message, query, RCODE } from '../../dns/message.ts';
import { TYPE } from '../../dns/record.ts';
import type { ResolvConf } from '../../dns/resolv-conf.ts';
import { formatAddress, fromBytes, tryParseAddress } from '../../lib/ip.ts';

/** What of a resolv.conf says where names are asked for. */
export type Resolver = Omit<ResolvConf, 'options'>;

type AddressType = 'A' | 'AAAA';

/** Names to ask for, in order (resolv.conf(5)). */
export function candidates(name: string, conf: Resolver): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const searched = conf.search.map((suffix) => `${name}.${suffix}`);
  return name.split('.').length - 1 >= conf.ndots ? [name, ...searched] : [...searched, name];
}

export interface ResolveDeps {
  conf: Resolver;
  /** A UDP descriptor in the pod's namespace, bound to any port of a wildcard address of that family. */
  bindUdp(family: 4 | 6): number;
  timeoutMs: number;
}

/** Addresses of `name`, IPv4 first as RFC 6724 orders them for ULA clusters. Throws an Error that says why not. */
export async function resolve(name: string, deps: ResolveDeps): Promise<string[]> {
  if (tryParseAddress(name)) return [name];
  for (const candidate of candidates(name, deps.conf)) {
    const [four, six] = await Promise.all([ask(candidate, 'A', deps), ask(candidate, 'AAAA', deps)]);
    if (four.length + six.length > 0) return [...four, ...six];
  }
  throw new Error(`ENOTFOUND ${name}`);
}

async function ask(name: string, type: AddressType, deps: ResolveDeps): Promise<string[]> {
  let failure: unknown = new Error('ENOSERVER the pod has no nameserver');
  for (const server of deps.conf.nameservers) {
    try {
      return parseAnswer(await exchange(server, encodeQuery(name, type), deps), type);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function exchange(server: string, query: Buffer, deps: ResolveDeps): Promise<Buffer> {
  const family = server.includes(':') ? 6 : 4;
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
  return new Promise<Buffer>((done, reject) => {
    const timer = setTimeout(() => reject(new Error(`EAI_AGAIN no answer from ${server}`)), deps.timeoutMs);
    const again = setInterval(() => socket.send(query), Math.max(200, deps.timeoutMs / 3));
    socket.on('close', () => {
      clearTimeout(timer);
      clearInterval(again);
    });
    socket.on('error', reject);
    socket.on('message', (message) => {
      if (message.length >= 12 && message.readUInt16BE(0) === query.readUInt16BE(0)) done(message);
    });
    socket.bind({ fd: deps.bindUdp(family) }, () => socket.connect(53, server, () => socket.send(query)));
  }).finally(() => socket.close());
}

export function encodeQuery(
  name: string,
  type: AddressType,
  id = Math.floor(Math.random() * 65_536),
): Buffer {
  try {
    return encodeMessage(query(id, name, TYPE[type]));
  } catch (error) {
    throw new Error(`ENOTFOUND "${name}" is not a name`, { cause: error });
  }
}

/** Addresses of `type` in an answer; empty for NXDOMAIN and for a name without such records. */
export function parseAnswer(bytes: Buffer, type: AddressType): string[] {
  const { rcode, answers } = decode(bytes);
  if (rcode === RCODE.NXDOMAIN) return [];
  if (rcode !== RCODE.NOERROR) throw new Error(`EAI_FAIL the nameserver answered with code ${rcode}`);
  return answers.flatMap((record) =>
    record.type === type && 'address' in record ? [formatAddress(fromBytes(record.address))] : [],
  );
}

function decode(bytes: Buffer): Message {
  try {
    return decodeMessage(bytes);
  } catch (error) {
    throw new Error('EAI_FAIL the answer is not a DNS message', { cause: error });
  }
}
