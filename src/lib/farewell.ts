/** The end of a connection that nobody but us answers for any more: an upgrade takes it out of its server's hands. */
import type { Duplex } from 'node:stream';

/** Milliseconds that the other side has to take what was sent, and to close. */
const FAREWELL_MS = 10_000;

/** Ends `socket` once all is sent, `last` at the end. What still comes is thrown away, so that its end is seen. */
export function farewell(socket: Duplex, last?: Uint8Array | string): void {
  if (socket.destroyed) return;
  if (!socket.writableEnded) socket.end(last);
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), FAREWELL_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}
