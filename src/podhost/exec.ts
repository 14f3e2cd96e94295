/** The agent's side of exec-protocol.ts. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { HeddleError } from '../lib/errors.ts';
import { type RuntimeTarget, startRuntimeAttach } from './cri/attach.ts';
import { type AttachTarget, startAttach } from './exec-attach.ts';
import { type CommandTarget, startCommand } from './exec-command.ts';
import { type LogTarget, startLog } from './exec-log.ts';
import {
  createFrameReader,
  type ExecStart,
  Frame,
  failedFrame,
  pauseAndAsk,
  takeUpgrade,
} from './exec-protocol.ts';

export interface ExecDeps {
  /** @throws HeddleError `PodNotHere` and others that say why not */
  target(asked: ExecStart): Promise<CommandTarget | AttachTarget | RuntimeTarget | LogTarget>;
}

/** What works on a request once it has begun. */
export interface Session {
  /** A frame of the caller's. False: wait with more until `onRoom` was called. */
  take(type: number, payload: Buffer, onRoom: () => void): boolean;
  /** The caller has gone. */
  hangUp(): void;
}

export function serveExec(req: IncomingMessage, socket: Duplex, head: Buffer, deps: ExecDeps): void {
  if (!takeUpgrade(req, socket)) return;
  let session: Session | undefined;
  let begun = false;
  let gone = false;
  /** What came before the command had started. */
  const early: [type: number, payload: Buffer][] = [];
  let goOn: (() => void) | undefined;
  const onRoom = () => {
    goOn?.();
    goOn = undefined;
  };
  const pass = (type: number, payload: Buffer) => {
    if (!session!.take(type, payload, onRoom)) goOn ??= pauseAndAsk(socket);
  };
  const hangUp = () => {
    gone = true;
    session?.hangUp();
  };
  /** Nobody reads what there still is to say, and half of a connection would stay open. */
  const left = () => {
    hangUp();
    socket.destroy();
  };
  const refuse = (error: unknown) => {
    if (socket.writable) socket.end(failedFrame(error));
  };
  const begin = async (payload: Buffer) => {
    socket.pause();
    try {
      const asked = parseStart(payload);
      const target = await deps.target(asked);
      session = await start(target, asked, socket);
      if (gone) session.hangUp();
      for (const [type, bytes] of early.splice(0)) pass(type, bytes);
    } catch (error) {
      refuse(error);
    }
    if (!goOn) socket.resume();
  };
  const read = createFrameReader((type, payload) => {
    if (!begun && type === Frame.start) {
      begun = true;
      void begin(payload);
    } else if (session) pass(type, payload);
    else early.push([type, payload]);
  });
  const onData = (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      refuse(error);
      hangUp();
    }
  };
  socket.on('data', onData);
  socket.on('error', () => socket.destroy());
  socket.on('close', hangUp);
  socket.on('end', left);
  if (head.length > 0) onData(head);
}

async function start(
  target: CommandTarget | AttachTarget | RuntimeTarget | LogTarget,
  asked: ExecStart,
  socket: Duplex,
): Promise<Session> {
  if ('holder' in target) return startAttach(target, asked, socket);
  if ('attach' in target) return startRuntimeAttach(target, asked, socket);
  return 'log' in target ? startLog(target, asked, socket) : startCommand(target, asked, socket);
}

/** @throws HeddleError `ExecFailed` */
function parseStart(payload: Buffer): ExecStart {
  const asked = JSON.parse(payload.toString()) as ExecStart;
  const { argv } = asked;
  const isCommand = Array.isArray(argv) && argv.length > 0 && argv.every((word) => typeof word === 'string');
  if (argv === undefined || isCommand) return asked;
  throw new HeddleError('ExecFailed', 'no command was given', { hint: 'heddle exec POD -- CMD [ARG…]' });
}
