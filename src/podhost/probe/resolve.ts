/**
 * Names as a pod resolves them: its resolv.conf, its search path, a datagram from inside its namespace. As much
 * of DNS (RFC 1035) as A and AAAA need; nothing is cached, because a probe wants to know how it is now.
 */
import { createSocket } from 'node:dgram';
import { formatAddress, fromBytes, tryParseAddress } from '../../lib/ip.ts';

export interface ResolvConf {
  nameservers: readonly string[];
  search: readonly string[];
  ndots: number;
}

const TYPE = { A: 1, AAAA: 28 } as const;

/** Names to ask for, in order (resolv.conf(5)). */
export function candidates(name: string, conf: ResolvConf): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const searched = conf.search.map((suffix) => `${name}.${suffix}`);
  return name.split('.').length - 1 >= conf.ndots ? [name, ...searched] : [...searched, name];
}

export interface ResolveDeps {
  conf: ResolvConf;
  /** A UDP descriptor in the pod's namespace, bound to any port of a wildcard address of that family. */
  bindUdp(family: 4 | 6): number;
  timeoutMs: number;
}

/** Addresses of `name`, IPv4 first as RFC 6724 orders them for ULA clusters. Throws an Error that says why not. */
export async function resolve(name: string, deps: ResolveDeps): Promise<string[]> {
  if (tryParseAddress(name)) return [name];
  for (const candidate of candidates(name, deps.conf)) {
    const [four, six] = await Promise.all([ask(candidate, TYPE.A, deps), ask(candidate, TYPE.AAAA, deps)]);
    if (four.length + six.length > 0) return [...four, ...six];
  }
  throw new Error(`ENOTFOUND ${name}`);
}

async function ask(name: string, type: number, deps: ResolveDeps): Promise<string[]> {
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

export function encodeQuery(name: string, type: number, id = Math.floor(Math.random() * 65_536)): Buffer {
  const labels = name.split('.').map((label) => {
    const bytes = Buffer.from(label);
    if (bytes.length === 0 || bytes.length > 63) throw new Error(`ENOTFOUND "${name}" is not a name`);
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, type, 0, 1])]);
}

/** Addresses of `type` in an answer; empty for NXDOMAIN and for a name without such records. */
export function parseAnswer(message: Buffer, type: number): string[] {
  const code = message[3]! & 15;
  if (code === 3) return [];
  if (code !== 0) throw new Error(`EAI_FAIL the nameserver answered with code ${code}`);
  const found: string[] = [];
  let at = 12;
  for (let i = message.readUInt16BE(4); i > 0; i--) at = skipName(message, at) + 4;
  for (let i = message.readUInt16BE(6); i > 0; i--) {
    at = skipName(message, at);
    if (at + 10 > message.length) throw new Error('EAI_FAIL the answer is cut off');
    const length = message.readUInt16BE(at + 8);
    const data = message.subarray(at + 10, at + 10 + length);
    if (message.readUInt16BE(at) === type && (length === 4 || length === 16))
      found.push(formatAddress(fromBytes(data)));
    at += 10 + length;
  }
  return found;
}

function skipName(message: Buffer, start: number): number {
  for (let at = start; at < message.length; ) {
    const length = message[at]!;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    at += 1 + length;
  }
  throw new Error('EAI_FAIL the answer is cut off');
}
