/** Who listens at a unix socket. */
import { connect, type Socket } from 'node:net';
import { libc, systemError } from './ffi.ts';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** Process id of whoever made the socket at `path` listen, as this process sees it. @throws HeddleError `Kernel` */
export async function listenerPid(path: string): Promise<number> {
  const socket = connect(path);
  try {
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    // struct ucred: pid, uid, gid.
    const value = Buffer.alloc(12);
    if (libc.getsockopt(fdOf(socket), SOL_SOCKET, SO_PEERCRED, value, Buffer.from([12, 0, 0, 0])) !== 0)
      throw systemError(`ask who listens at ${path}`);
    return value.readInt32LE(0);
  } finally {
    socket.destroy();
  }
}

/** Node has no name for it. */
export const fdOf = (socket: Socket): number =>
  (socket as unknown as { _handle: { fd: number } | null })._handle?.fd ?? -1;
