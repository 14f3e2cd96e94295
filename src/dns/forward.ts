/** What is nobody's here is asked of other servers, in their order: each by UDP, and by TCP where its answer is cut. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { type Answer, failure, type Plugin, type Query } from './chain.ts';
import { decodeMessage, encodeMessage, type Message, OPCODE_QUERY, RCODE } from './message.ts';

export interface ForwardOptions {
  /** Addresses; without any, everything is refused. */
  readonly servers: readonly string[];
  /** Default 53. */
  readonly port?: number;
  /** Milliseconds that each server has. Default 2,000. */
  readonly timeoutMs?: number;
  /** Questions of one client that wait at once; more fail at once, so that others' are heard. Default 100. */
  readonly perClient?: number;
}

/** As in respond.ts. */
const UDP_SIZE = 1232;
/** RFC 1035 section 4.2.2. */
const LENGTH = 2;

export function forward({ servers, port = 53, timeoutMs = 2000, perClient = 100 }: ForwardOptions): Plugin {
  const waiting = new Map<string, number>();

  async function ask(server: string, query: Query): Promise<Answer> {
    const message = queryOf(query);
    const bytes = encodeMessage(message);
    const signal = AbortSignal.timeout(timeoutMs);
    const byUdp = await exchangeUdp(server, {
      port,
      bytes,
      signal,
      accept: (data) => answerTo(message, data),
    });
    const answer = byUdp.truncated
      ? await exchangeTcp(server, { port, bytes, signal, accept: (data) => answerTo(message, data) })
      : byUdp;
    const { rcode, answers, authorities, additionals } = answer;
    return { rcode, authoritative: false, recursive: true, answers, authorities, additionals };
  }

  async function askAll(query: Query): Promise<Answer> {
    for (const server of servers) {
      const answer = await ask(server, query).catch(() => undefined);
      // One that will not, or cannot, leaves it to the others.
      if (answer && answer.rcode !== RCODE.SERVFAIL && answer.rcode !== RCODE.REFUSED) return answer;
    }
    return failure(RCODE.SERVFAIL);
  }

  return async (query, next) => {
    if (servers.length === 0) return next(query);
    const { client } = query;
    const others = waiting.get(client) ?? 0;
    if (others >= perClient) return failure(RCODE.SERVFAIL);
    waiting.set(client, others + 1);
    try {
      return await askAll(query);
    } finally {
      const left = (waiting.get(client) ?? 1) - 1;
      if (left > 0) waiting.set(client, left);
      else waiting.delete(client);
    }
  };
}

const queryOf = ({ name, type, class: questionClass }: Query): Message => ({
  id: randomInt(0x10000),
  response: false,
  opcode: OPCODE_QUERY,
  authoritative: false,
  truncated: false,
  recursionDesired: true,
  recursionAvailable: false,
  authenticData: false,
  checkingDisabled: false,
  rcode: RCODE.NOERROR,
  questions: [{ name, type, class: questionClass }],
  answers: [],
  authorities: [],
  additionals: [],
  edns: { udpSize: UDP_SIZE, version: 0, dnssecOk: false, options: [] },
});

/** Undefined for what answers something else, or nothing (RFC 5452 section 9.1). */
function answerTo(asked: Message, data: Uint8Array): Message | undefined {
  let message: Message;
  try {
    message = decodeMessage(data);
  } catch {
    return undefined;
  }
  const [mine, theirs] = [asked.questions[0], message.questions[0]];
  const same =
    theirs?.name.toLowerCase() === mine?.name && theirs?.type === mine?.type && theirs?.class === mine?.class;
  return message.response && message.id === asked.id && same ? message : undefined;
}

interface Exchange {
  readonly port: number;
  readonly bytes: Buffer;
  readonly signal: AbortSignal;
  accept(data: Uint8Array): Message | undefined;
}

/** A port of its own for each question; connected, so that others' packets are not seen. */
async function exchangeUdp(server: string, { port, bytes, signal, accept }: Exchange): Promise<Message> {
  const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4');
  try {
    return await new Promise<Message>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error(`${server} does not answer`)), { once: true });
      socket.on('error', reject);
      socket.on('message', (data) => {
        const message = accept(data);
        if (message) resolve(message);
      });
      socket.connect(port, server, (error?: Error) => {
        if (error) reject(error);
        else socket.send(bytes, (failed) => failed && reject(failed));
      });
    });
  } finally {
    socket.close();
  }
}

async function exchangeTcp(server: string, { port, bytes, signal, accept }: Exchange): Promise<Message> {
  const socket = connect({ host: server, port, signal });
  const head = Buffer.alloc(LENGTH);
  head.writeUInt16BE(bytes.length);
  // Not ended before the answer is here: many a server takes the end for a client that is gone.
  socket.write(Buffer.concat([head, bytes]));
  let received = Buffer.alloc(0);
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, chunk]);
      if (received.length < LENGTH || received.length < LENGTH + received.readUInt16BE(0)) continue;
      const message = accept(received.subarray(LENGTH, LENGTH + received.readUInt16BE(0)));
      if (message) return message;
      break;
    }
  } finally {
    socket.destroy();
  }
  throw new Error(`${server} says nothing by TCP`);
}
