/**
 * Names as a pod resolves them: its resolv.conf, its search path, a datagram from inside its namespace. Nothing
 * is cached, because a probe wants to know how it is now.
 */
import { createSocket } from 'node:dgram';
import { decodeMessage, encodeMessage, type Message, query, RCODE } from '../../dns/message.ts';
import { TYPE } from '../../dns/record.ts';
import type { ResolvConf } from '../../dns/resolv-conf.ts';
import { formatAddress, fromBytes, tryParseAddress } from '../../lib/ip.ts';
import type { Answers } from './happy-eyeballs.ts';

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
  /** Whoever asked has gone. */
  signal?: AbortSignal;
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

/**
 * Both questions about `name` at once, AAAA first (RFC 8305 section 3): as soon as one of them has an address, so that
 * nobody waits for the slower one. @throws Error that says why there is none
 */
export async function lookup(name: string, deps: ResolveDeps): Promise<Answers> {
  const literal = tryParseAddress(name);
  if (literal) return known(literal.family === 6 ? [name] : [], literal.family === 4 ? [name] : []);
  // RFC 6761 section 6.3: never asked of anybody.
  if (/^(?:.*\.)?localhost\.?$/i.test(name)) return known(['::1'], ['127.0.0.1']);
  for (const candidate of candidates(name, deps.conf)) {
    const answers = { six: ask(candidate, 'AAAA', deps), four: ask(candidate, 'A', deps) };
    if (await hasAddress(answers)) return answers;
  }
  throw new Error(`ENOTFOUND ${name}`);
}

const known = (six: string[], four: string[]): Answers => ({
  six: Promise.resolve(six),
  four: Promise.resolve(four),
});

/** False when both say that there is none; rejects when one said nothing and the other has none. */
async function hasAddress({ six, four }: Answers): Promise<boolean> {
  const none = 'no address';
  const filled = async (answer: Promise<string[]>) => {
    if ((await answer).length === 0) throw none;
  };
  try {
    await Promise.any([filled(six), filled(four)]);
    return true;
  } catch (error) {
    const problem = (error as AggregateError).errors.find((one) => one !== none);
    if (problem !== undefined) throw problem;
    return false;
  }
}

async function ask(name: string, type: AddressType, deps: ResolveDeps): Promise<string[]> {
  let failure: unknown = new Error('ENOSERVER the pod has no nameserver');
  for (const server of deps.conf.nameservers) {
    try {
      deps.signal?.throwIfAborted();
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
    const onAbort = () => reject(deps.signal?.reason);
    deps.signal?.addEventListener('abort', onAbort, { once: true });
    socket.on('close', () => {
      deps.signal?.removeEventListener('abort', onAbort);
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
