/**
 * The streaming endpoint of a container runtime (Attach of the CRI): a URL of one use, at an address of the runtime
 * itself, in the network that it is in; no other is dialled, whatever it says. It is spoken to as a kubelet's clients
 * do: SPDY/3.1 with v4.channel.k8s.io.
 */
import { request } from 'node:http';
import { networkInterfaces } from 'node:os';
import type { Duplex } from 'node:stream';
import { socketOf } from '../../cri/endpoint.ts';
import { closeNetns, inNetns, type Netns, openNetns } from '../../kernel/netns.ts';
import { listenerPid } from '../../kernel/peer.ts';
import { connectTcp } from '../../kernel/sockets.ts';
import { errorText, HeddleError } from '../../lib/errors.ts';

export const PROTOCOL = 'v4.channel.k8s.io';

export interface Upgraded {
  socket: Duplex;
  head: Buffer;
}

const refused = (why: string, hint: string, cause?: unknown) =>
  new HeddleError('AttachRefused', `the streams of the container runtime cannot be had: ${why}`, {
    hint,
    cause,
  });

/** Milliseconds for its answer. */
const PATIENCE_MS = 10_000;

/** @throws HeddleError `AttachRefused` */
export async function openStreams(
  endpoint: string,
  url: string,
  patienceMs: number = PATIENCE_MS,
): Promise<Upgraded> {
  if (!URL.canParse(url))
    throw refused(
      `${JSON.stringify(url)} is no URL of them`,
      'the log of the container runtime may say more',
    );
  const { protocol, hostname, port, pathname, search } = new URL(url);
  if (protocol !== 'http:')
    throw refused(
      `it serves them by ${protocol.slice(0, -1)}`,
      'containerd: leave enable_tls_streaming out of its configuration',
    );
  try {
    const socket = await dial(endpoint, reachable(hostname), Number(port || 80));
    return await upgrade(socket, `${pathname}${search}`, patienceMs);
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    throw refused(errorText(error), 'the log of the container runtime may say more', error);
  }
}

/** One that listens at every address is asked at the nearest. */
function reachable(hostname: string): string {
  const bare = hostname.replace(/^\[|\]$/g, '');
  if (bare === '0.0.0.0' || bare === 'localhost' || bare === '') return '127.0.0.1';
  return bare === '::' ? '::1' : bare;
}

async function dial(endpoint: string, host: string, port: number): Promise<Duplex> {
  const pid = await listenerPid(socketOf(endpoint));
  // The kernel has no number for processes of other pid namespaces.
  if (pid <= 0) throw new Error(`nobody can say which network the runtime at ${endpoint} is in`);
  const ns = openNetns(`/proc/${pid}/ns/net`);
  try {
    if (!isOwn(ns, host))
      throw refused(
        `${host} is no address of the runtime's own`,
        'containerd: stream_server_address in its configuration is best left at 127.0.0.1',
      );
    return await connectTcp(ns, { host, port });
  } finally {
    closeNetns(ns);
  }
}

function isOwn(ns: Netns, host: string): boolean {
  if (host === '::1' || /^127(\.\d+){3}$/.test(host)) return true;
  const own = inNetns(ns, () => Object.values(networkInterfaces()).flatMap((list) => list ?? []));
  return own.some(({ address }) => address === host);
}

function upgrade(socket: Duplex, path: string, patienceMs: number): Promise<Upgraded> {
  return new Promise((resolve, reject) => {
    const req = request({
      method: 'POST',
      path,
      createConnection: () => socket,
      headers: {
        host: 'localhost',
        connection: 'Upgrade',
        upgrade: 'SPDY/3.1',
        'x-stream-protocol-version': PROTOCOL,
      },
    });
    const fail = (why: string) => {
      reject(new Error(why));
      socket.destroy();
    };
    const late = setTimeout(() => fail(`it gave no answer within ${patienceMs / 1000} s`), patienceMs);
    req.on('close', () => clearTimeout(late));
    req.on('error', reject);
    req.on('response', (res) => fail(`it answered ${res.statusCode}`));
    req.on('upgrade', ({ headers }, upgraded, head) => {
      clearTimeout(late);
      const chosen = headers['x-stream-protocol-version'];
      if (chosen === PROTOCOL) resolve({ socket: upgraded, head });
      else fail(`it speaks ${String(chosen ?? 'a protocol without a name')}, not ${PROTOCOL}`);
    });
    req.end();
  });
}
