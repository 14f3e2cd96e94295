/**
 * The streaming endpoint of a container runtime (Attach of the CRI): a URL of one use, at an address of the network that
 * the runtime itself is in, spoken to as a kubelet's clients do: SPDY/3.1 with v4.channel.k8s.io.
 */
import { request } from 'node:http';
import type { Duplex } from 'node:stream';
import { socketOf } from '../../cri/endpoint.ts';
import { closeNetns, openNetns } from '../../kernel/netns.ts';
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

/** @throws HeddleError `AttachRefused` */
export async function openStreams(endpoint: string, url: string): Promise<Upgraded> {
  const { protocol, hostname, port, pathname, search } = new URL(url);
  if (protocol !== 'http:')
    throw refused(
      `it serves them by ${protocol.slice(0, -1)}`,
      'containerd: leave enable_tls_streaming out of its configuration',
    );
  try {
    const socket = await dial(endpoint, reachable(hostname), Number(port || 80));
    return await upgrade(socket, `${pathname}${search}`);
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
  const ns = openNetns(`/proc/${await listenerPid(socketOf(endpoint))}/ns/net`);
  try {
    return await connectTcp(ns, { host, port });
  } finally {
    closeNetns(ns);
  }
}

function upgrade(socket: Duplex, path: string): Promise<Upgraded> {
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
    req.on('error', reject);
    req.on('response', (res) => {
      res.resume();
      reject(new Error(`it answered ${res.statusCode}`));
    });
    req.on('upgrade', (_res, upgraded, head) => resolve({ socket: upgraded, head }));
    req.end();
  });
}
