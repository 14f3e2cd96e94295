/** The client's side of a session for tests: what it sends by hand, what it got as frames. */
import { controlFrame, createFrameReader, FLAG_FIN, type Frame, Type } from './frame.ts';
import { createHeaderReader, createHeaderWriter, type Headers } from './headers.ts';
import { createSpdySession, type SpdyOptions, type SpdySession } from './session.ts';

export interface TestPeer {
  session: SpdySession;
  /** What came, data in pieces put together. */
  frames: Frame[];
  /** Bytes of a stream, as text. */
  text(stream: number): string;
  controls(kind: number): (Frame & { type: 'control' })[];
  paused: boolean;
  closed: boolean;
  /** Undefined until the session is over. */
  end: { error: Error | undefined } | undefined;
  /** From now on nothing that is sent is taken. */
  stopReading(): void;
  readOn(): void;
  syn(id: number, headers?: Readonly<Record<string, string>>, fin?: boolean): void;
}

export function createTestPeer(accept: SpdyOptions['accept']): TestPeer {
  const reader = createFrameReader();
  const write = createHeaderWriter();
  let reading = true;
  let waiting: (() => void)[] = [];
  const peer: TestPeer = {
    frames: [],
    paused: false,
    closed: false,
    end: undefined,
    session: createSpdySession({
      transport: {
        send(bytes) {
          reader.push(Buffer.from(bytes));
          for (let frame = reader.next(); frame; frame = reader.next()) peer.frames.push(frame);
          return reading;
        },
        onceDrained: (go) => void (reading ? go() : waiting.push(go)),
        pause: () => void (peer.paused = true),
        resume: () => void (peer.paused = false),
        close: () => void (peer.closed = true),
      },
      accept,
      onEnd: (error) => void (peer.end = { error }),
    }),
    text: (stream) =>
      peer.frames
        .map((one) => (one.type === 'data' && one.stream === stream ? one.payload.toString() : ''))
        .join(''),
    controls: (kind) =>
      peer.frames.filter((one) => one.type === 'control').filter((one) => one.kind === kind),
    stopReading: () => void (reading = false),
    readOn() {
      reading = true;
      const all = waiting;
      waiting = [];
      for (const one of all) one();
    },
    syn(id, headers = {}, fin = false) {
      const block = write(new Map(Object.entries(headers)));
      peer.session.feed(controlFrame(Type.synStream, fin ? FLAG_FIN : 0, id, 0, Buffer.alloc(2), block));
    },
  };
  return peer;
}

/** One block, as a peer reads it. */
export const readHeaders = (block: Buffer): Promise<Headers> => createHeaderReader().read(block);
