/** Requests that become something else than an answer: exec, attach and port-forward, by WebSocket or SPDY. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { farewell } from '../lib/farewell.ts';
import type { SpdyTransport } from '../lib/spdy/session.ts';
import { acceptWebSocket, chooseProtocol, keyOf, type WebSocketServer } from '../lib/websocket.ts';
import { authorize } from './authorize.ts';
import { ApiFailure, badRequest, methodNotAllowed, noSuchPath, statusOf, unavailable } from './failure.ts';
import type { ResourceInfo } from './request-info.ts';
import { callOf, failureOf, type HandlerDeps, NO_BODY, understand } from './handler.ts';
import { type CommandDeps, type CommandStreams, commandQuery, runCommand } from './streaming/command.ts';
import { CHANNEL_PROTOCOLS, channelStreams } from './streaming/command-channels.ts';
import { COMMAND_PROTOCOLS, spdyCommand } from './streaming/command-spdy.ts';
import type { ForwardDeps } from './streaming/port-forward.ts';
import { channelPortForward, FORWARD_CHANNELS, portsOfQuery } from './streaming/port-forward-channels.ts';
import { PORT_FORWARD_PROTOCOL, spdyPortForward, TUNNEL_PROTOCOL } from './streaming/port-forward-spdy.ts';
import { type Carrier, socketTransport, tunnelTransport } from './streaming/transport.ts';
import { refOf } from './verbs/pod-log.ts';

export type OnUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Milliseconds of silence before the kernel asks whether the client is still there. */
const KEEP_ALIVE_MS = 30_000;
const SPDY = 'SPDY/3.1';

export function createUpgrade(deps: HandlerDeps): OnUpgrade {
  return (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    try {
      serve(deps, { request, socket, head });
      (socket as Socket).setKeepAlive(true, KEEP_ALIVE_MS);
    } catch (error) {
      const failure = failureOf(error);
      deps.instruments.refused(infoOf(request), failure.code);
      refuse(socket, failure);
    }
  };
}

function infoOf(request: IncomingMessage): ResourceInfo | undefined {
  try {
    return understand(request).resource;
  } catch {
    return undefined;
  }
}

/** A request with its connection, which has not been answered. */
interface Arrival {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

const isSpdy = ({ request }: Arrival): boolean =>
  request.headers.upgrade?.toUpperCase() === SPDY && ['GET', 'POST'].includes(request.method ?? '');

function serve(deps: HandlerDeps, arrival: Arrival): void {
  const info = understand(arrival.request);
  const user = deps.authenticate(arrival.request);
  authorize(user, info);
  const call = callOf(deps, { request: arrival.request, info }, user, NO_BODY);
  const { subresource } = call.info;
  if (call.resource.kind.kind !== 'Pod' || !['exec', 'attach', 'portforward'].includes(subresource))
    throw noSuchPath();
  if (arrival.request.method !== 'GET' && !isSpdy(arrival)) throw methodNotAllowed();
  const { kubelets, stopping, log } = deps;
  if (!kubelets) throw unavailable('this API server knows no nodes that have pods');
  const onFailure = () => deps.instruments.failed(subresource);
  const forward = { kubelets, ref: refOf(deps, call), stopping, log, onFailure };
  if (subresource === 'portforward') portForward(arrival, info.query, forward);
  else command(arrival, { ...forward, query: commandQuery(subresource, info.query) });
  deps.instruments.session(call.info, isSpdy(arrival) ? 'SPDY' : 'WebSocket', arrival.socket);
}

function command(arrival: Arrival, deps: CommandDeps): void {
  const run = (streams: CommandStreams) => runCommand(deps, streams);
  if (isSpdy(arrival)) spdyCommand(deps.query, upgradeToSpdy(arrival, COMMAND_PROTOCOLS), run);
  else run(channelStreams(deps.query, acceptOn(arrival, CHANNEL_PROTOCOLS).accept));
}

function portForward(arrival: Arrival, query: URLSearchParams, deps: ForwardDeps): void {
  if (isSpdy(arrival)) return spdyPortForward(deps, upgradeToSpdy(arrival, [PORT_FORWARD_PROTOCOL]));
  const { protocol, accept } = acceptOn(arrival, [TUNNEL_PROTOCOL, FORWARD_CHANNELS]);
  if (protocol === FORWARD_CHANNELS) channelPortForward(deps, portsOfQuery(query), accept);
  else spdyPortForward(deps, (carrier) => tunnelTransport(accept, carrier));
}

/** @throws ApiFailure 400 */
function acceptOn({ request, socket, head }: Arrival, known: readonly string[]) {
  const protocol = chooseProtocol(request, known);
  const key = keyOf(request);
  if (!key || !protocol)
    throw badRequest(`expected a WebSocket of version 13 with one of ${known.join(', ')}, or ${SPDY}`);
  const accept = (onMessage: (message: Buffer) => void): WebSocketServer =>
    acceptWebSocket(socket, { key, protocol, head, onMessage });
  return { protocol, accept };
}

const PROTOCOL_HEADER = 'x-stream-protocol-version';

/** @throws ApiFailure 403, as Kubernetes does when the two sides have no protocol in common */
function upgradeToSpdy({ request, socket, head }: Arrival, known: readonly string[]) {
  const named = [request.headers[PROTOCOL_HEADER] ?? []].flat().join(',');
  const offered = named.split(',').map((one) => one.trim());
  const protocol = known.find((one) => offered.includes(one));
  if (!protocol)
    throw new ApiFailure(
      403,
      'Forbidden',
      `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(' ')}], server accepts [${known.join(' ')}]`,
    );
  return (carrier: Carrier): SpdyTransport => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${SPDY}\r\n${PROTOCOL_HEADER}: ${protocol}\r\n\r\n`,
    );
    return socketTransport(socket, head, carrier);
  };
}

function refuse(socket: Duplex, failure: ApiFailure): void {
  const body = JSON.stringify(statusOf(failure));
  farewell(
    socket,
    `HTTP/1.1 ${failure.code} ${failure.reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
