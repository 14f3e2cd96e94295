/** One attempt of a pod to reach something, and what came of it. Never throws: a refusal is a result. */
import { createSocket } from 'node:dgram';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { formatHostPort } from '../../lib/ip.ts';
import { plainAddress } from '../stand-in/connection.ts';
import { type Echo, WHO_AM_I } from '../stand-in/types.ts';
import { type Resolver, resolve } from './resolve.ts';

export interface ProbeRequest {
  /** An address, or a name that the pod's resolv.conf resolves. */
  host: string;
  port: number;
  /** `tcp`: connect, and ask who answers; `http`: GET; `udp`: a datagram there and back. */
  kind: 'tcp' | 'http' | 'udp';
  /** Takes the first address of this family; default: the first of any. */
  family?: 4 | 6;
  /** Of a GET. Default `/`. */
  path?: string;
  /** Milliseconds for each question about the name, and then for connection and answer together. Default 2,000. */
  timeoutMs?: number;
}

export interface ProbeResult {
  ok: boolean;
  /** Errno name and words: `ECONNREFUSED …`, `ETIMEDOUT …`, `ENOTFOUND …`. */
  error?: string;
  /** Also of an attempt that failed, if it came as far as leaving. */
  local?: { address: string; port: number };
  remote?: { address: string; port: number };
  /** Microseconds until the connection stood (UDP: until the answer came). */
  latencyUs?: number;
  /** The source address as the server saw it, if the server is one of ours. */
  peerSeen?: string;
  /** `namespace/name` of the stand-in that answered. */
  responder?: string;
  /** HTTP status. */
  status?: number;
}

export interface ProbeDeps {
  resolv: Resolver;
  /** The pod's own address of a family. */
  addressOf(family: 4 | 6): string | undefined;
  /** A port that no recent attempt used. */
  nextPort(): number;
  /** Both open their socket in the pod's namespace. */
  connectTcp(options: {
    host: string;
    port: number;
    timeoutMs: number;
    localAddress: string;
    localPort: number;
  }): Promise<Socket>;
  bindUdp(family: 4 | 6, port: number): number;
  /** Monotonic milliseconds. */
  now(): number;
}

export async function probe(asked: ProbeRequest, deps: ProbeDeps): Promise<ProbeResult> {
  const timeoutMs = asked.timeoutMs ?? 2000;
  let result: ProbeResult = { ok: false };
  try {
    const bindUdp = (family: 4 | 6) => deps.bindUdp(family, 0);
    const addresses = await resolve(asked.host, { bindUdp, conf: deps.resolv, timeoutMs });
    // Counted from here: a busy name server is not what a connection that fails is to be blamed on.
    const deadline = deps.now() + timeoutMs;
    const left = () => Math.max(1, deadline - deps.now());
    const address = addresses.find((one) => !asked.family || one.includes(':') === (asked.family === 6));
    if (address === undefined) throw new Error(`ENOTFOUND ${asked.host} has no IPv${asked.family} address`);
    result.remote = { address, port: asked.port };
    // The port is chosen here, so that a refused attempt can be found in the kernel's log too.
    const port = deps.nextPort();
    result.local = { address: deps.addressOf(familyOf(address)) ?? '', port };
    const attempt = asked.kind === 'udp' ? overUdp : overTcp;
    result = { ...result, ...(await attempt(asked, { address, port }, left, deps)) };
  } catch (error) {
    result.error = error instanceof Error ? error.message : String(error);
  }
  return result;
}

/** Where to, and from which local port. */
interface Leg {
  address: string;
  port: number;
}

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);
const anyOf = (address: string): string => (address.includes(':') ? '::' : '0.0.0.0');
type Left = () => number;

/** Milliseconds for a stand-in, on a busy machine too, to say who it is. */
const ANSWER_TIMEOUT = 3000;

async function overTcp(asked: ProbeRequest, leg: Leg, left: Left, deps: ProbeDeps): Promise<ProbeResult> {
  const host = leg.address;
  const start = deps.now();
  const socket = await deps.connectTcp({
    host,
    port: asked.port,
    timeoutMs: left(),
    localAddress: anyOf(host),
    localPort: leg.port,
  });
  const connected: ProbeResult = {
    ok: true,
    latencyUs: Math.round((deps.now() - start) * 1000),
    local: { address: plainAddress(socket.localAddress ?? ''), port: socket.localPort ?? 0 },
  };
  try {
    if (asked.kind === 'http') return { ...connected, ...(await get(asked, host, socket, left())) };
    // Others than our stand-ins may not answer such a line; that they accepted is the result.
    return { ...connected, ...fromEcho(await whoAmI(socket, ANSWER_TIMEOUT).catch(() => undefined)) };
  } finally {
    socket.destroy();
  }
}

function get(
  asked: ProbeRequest,
  host: string,
  socket: Socket,
  timeoutMs: number,
): Promise<Partial<ProbeResult>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('ETIMEDOUT connected, but no answer to GET')), timeoutMs);
    const req = request({
      createConnection: () => socket,
      path: asked.path ?? '/',
      headers: {
        host: formatHostPort(asked.host.includes(':') ? host : asked.host, asked.port),
        connection: 'close',
      },
    });
    const fail = (error: Error) => reject(new Error(`EPROTO connected, but GET failed: ${error.message}`));
    req.on('close', () => clearTimeout(timer));
    req.on('error', fail);
    req.on('response', (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        // A tree of calls may be long.
        if (text.length < 1 << 20) text += chunk;
      });
      res.on('error', fail);
      res.on('end', () => resolve({ status: res.statusCode, ...fromEcho(text) }));
    });
    req.end();
  });
}

function whoAmI(socket: Socket, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => reject(new Error('no answer')), timeoutMs);
    socket.on('close', () => clearTimeout(timer));
    socket.on('error', reject);
    socket.on('end', () => reject(new Error('closed')));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (text.endsWith('\n') || text.length > 65_536) resolve(text);
    });
    socket.write(WHO_AM_I);
  });
}

async function overUdp(asked: ProbeRequest, leg: Leg, left: Left, deps: ProbeDeps): Promise<ProbeResult> {
  const family = familyOf(leg.address);
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
  const start = deps.now();
  const timeoutMs = left();
  return new Promise<ProbeResult>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('ETIMEDOUT no answer to the datagram')), timeoutMs);
    socket.on('close', () => clearTimeout(timer));
    socket.on('error', (error) => reject(new Error(error.message)));
    socket.on('message', (message) => {
      const { address, port } = socket.address();
      resolve({
        ok: true,
        latencyUs: Math.round((deps.now() - start) * 1000),
        local: { address: plainAddress(address), port },
        ...fromEcho(message.toString('utf8')),
      });
    });
    socket.bind({ fd: deps.bindUdp(family, leg.port) }, () =>
      socket.connect(asked.port, leg.address, () => socket.send(WHO_AM_I)),
    );
  }).finally(() => socket.close());
}

function fromEcho(text: string | undefined): Partial<ProbeResult> {
  try {
    const echo = JSON.parse(text ?? '') as Partial<Echo>;
    if (!echo.peer || !echo.pod) return {};
    return { peerSeen: echo.peer.address, responder: `${echo.namespace}/${echo.pod}` };
  } catch {
    return {};
  }
}
