/** DNS by UDP on one address: answers leave from the address that was asked. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import type { Listener, Service } from './server.ts';

/** Bytes of queries that may wait while the process is busy; the kernel may allow less. */
const RECEIVE_BUFFER = 1 << 20;

export async function listenUdp(service: Service, address: string, port: number): Promise<Listener> {
  const family = address.includes(':') ? 6 : 4;
  const socket = dgram.createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    ipv6Only: family === 6,
    recvBufferSize: RECEIVE_BUFFER,
    // Peers are addresses always: without this every send waits a turn of the event loop for "resolving".
    lookup: (host, _options, callback) => callback(null, host, family),
  });
  try {
    // Without a lookup to wait for, `bind` may be done when it returns.
    const listening = once(socket, 'listening');
    socket.bind({ address, port, exclusive: true });
    await listening;
  } catch (error) {
    socket.close();
    throw error;
  }
  const failed = new Promise<unknown>((resolve) => {
    socket.on('error', resolve);
  });
  socket.on('message', (data, peer) => {
    const send = (response: Buffer | undefined) => {
      // Without a callback a peer that has gone is no error, and costs no turn of the event loop.
      if (response && !closed) socket.send(response, peer.port, peer.address);
    };
    const response = service.handle(data, 'udp', peer.address);
    if (response instanceof Promise) response.then(send, ignore);
    else send(response);
  });
  let closed = false;
  return {
    port: socket.address().port,
    failed,
    close() {
      if (!closed) socket.close();
      closed = true;
    },
  };
}

const ignore = (): void => {};
