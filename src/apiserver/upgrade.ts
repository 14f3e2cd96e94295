/** Requests that become something else than an answer: `kubectl exec` over a WebSocket. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { acceptWebSocket, chooseProtocol, keyOf } from '../lib/websocket.ts';
import { authorize } from './authorize.ts';
import {
  type ApiFailure,
  badRequest,
  methodNotAllowed,
  noSuchPath,
  statusOf,
  unavailable,
} from './failure.ts';
import { callOf, failureOf, type HandlerDeps, NO_BODY, understand } from './handler.ts';
import { isTrue } from './request-info.ts';
import { CHANNEL_PROTOCOLS, podExec } from './verbs/pod-exec.ts';
import { refOf } from './verbs/pod-log.ts';

export type OnUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export function createUpgrade(deps: HandlerDeps): OnUpgrade {
  return (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    try {
      serve(deps, request, socket, head);
    } catch (error) {
      refuse(socket, failureOf(error));
    }
  };
}

function serve(deps: HandlerDeps, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const info = understand(request);
  const user = deps.authenticate(request);
  authorize(user, info);
  const call = callOf(deps, { request, info }, user, NO_BODY);
  if (call.resource.kind.kind !== 'Pod' || call.info.subresource !== 'exec') throw noSuchPath();
  if (request.method !== 'GET') throw methodNotAllowed();
  const { kubelets } = deps;
  if (!kubelets) throw unavailable('this API server knows no nodes that run commands');
  const protocol = chooseProtocol(request, CHANNEL_PROTOCOLS);
  const key = keyOf(request);
  if (!key || !protocol)
    throw badRequest(`expected a WebSocket of version 13 with one of ${CHANNEL_PROTOCOLS.join(', ')}`);
  if (isTrue(info.query.get('tty'))) throw badRequest('terminals (-t) are not there yet: leave -t away');
  const ref = refOf(deps, call);
  if (info.query.getAll('command').length === 0) throw badRequest('you must specify at least 1 command');
  podExec({ kubelets, ref, query: info.query, stopping: deps.stopping }, (onMessage) =>
    acceptWebSocket(socket, { key, protocol, head, onMessage }),
  );
}

function refuse(socket: Duplex, failure: ApiFailure): void {
  const body = JSON.stringify(statusOf(failure));
  socket.end(
    `HTTP/1.1 ${failure.code} ${failure.reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
