/** Bytes of a query in, bytes of its response out: the protocol's rules around a handler. No I/O. */
import type { Answer, Next, Query } from './chain.ts';
import { failure } from './chain.ts';
import {
  decodeMessage,
  type Edns,
  encodeMessage,
  HEADER_SIZE,
  type Message,
  OPCODE_QUERY,
  RCODE,
} from './message.ts';
import { FormatError } from './name.ts';

/** What no path of ours cuts into fragments: https://www.dnsflagday.net/2020/. Also the most we say to take. */
const MAX_UDP = 1232;
/** RFC 1035 section 4.2.1, of askers without EDNS. */
const PLAIN_UDP = 512;

export type Transport = Query['transport'];

/** Called with each response that leaves, by its code. */
export type OnResponse = (transport: Transport, rcode: number) => void;

/** Undefined: nothing can or may be answered (a response, or less than a header). */
export type Responder = (
  data: Uint8Array,
  transport: Transport,
  client: string,
) => Buffer | undefined | Promise<Buffer | undefined>;

export function createResponder(handler: Next, onResponse: OnResponse = () => {}): Responder {
  function finish(request: Message, answer: Answer, transport: Transport): Buffer {
    const limit = transport === 'tcp' ? 65535 : udpLimit(request.edns);
    const encode = (final: Answer) => {
      const data = encodeMessage(responseTo(request, final), limit);
      onResponse(transport, final.rcode);
      return data;
    };
    try {
      return encode(answer);
    } catch (error) {
      // An object holds a name that no message can (an ExternalName, say).
      if (!(error instanceof FormatError)) throw error;
      return encode(failure(RCODE.SERVFAIL));
    }
  }

  return (data, transport, client) => {
    if (data.length < HEADER_SIZE || ((data[2] ?? 0) & 0x80) !== 0) return undefined;
    const request = parse(data);
    if (typeof request === 'number') {
      onResponse(transport, request);
      return headerOnly(data, request);
    }
    const refusal = refusalOf(request);
    if (refusal !== undefined) return finish(request, failure(refusal), transport);
    const question = request.questions[0];
    if (!question) return undefined;
    const { name, type, class: questionClass } = question;
    const answer = handler({ name: name.toLowerCase(), type, class: questionClass, transport, client });
    if (answer instanceof Promise) return answer.then((late) => finish(request, late, transport));
    return finish(request, answer, transport);
  };
}

/** The message, or the code to refuse its bytes with. */
function parse(data: Uint8Array): Message | number {
  if ((((data[2] ?? 0) >> 3) & 15) !== OPCODE_QUERY) return RCODE.NOTIMP;
  try {
    return decodeMessage(data);
  } catch (error) {
    if (error instanceof FormatError) return RCODE.FORMERR;
    throw error;
  }
}

function refusalOf(request: Message): number | undefined {
  if (request.questions.length !== 1) return RCODE.FORMERR;
  if (request.edns && request.edns.version > 0) return RCODE.BADVERS;
  return undefined;
}

const udpLimit = (edns: Edns | undefined): number =>
  edns ? Math.min(MAX_UDP, Math.max(PLAIN_UDP, edns.udpSize)) : PLAIN_UDP;

/** The question goes back byte by byte as it came: its capitals are the asker's check against forgery. */
function responseTo(request: Message, answer: Answer): Message {
  const { id, opcode, recursionDesired, checkingDisabled, questions, edns } = request;
  return {
    id,
    response: true,
    opcode,
    authoritative: answer.authoritative,
    truncated: false,
    recursionDesired,
    recursionAvailable: answer.recursive === true,
    authenticData: false,
    checkingDisabled,
    rcode: answer.rcode,
    questions: questions.length === 1 ? questions : [],
    answers: answer.answers,
    authorities: answer.authorities,
    additionals: answer.additionals,
    edns: edns && { udpSize: MAX_UDP, version: 0, dnssecOk: edns.dnssecOk, options: [] },
  };
}

/** The asker's id, opcode and RD with a code and nothing else: what can be said of bytes that cannot be read. */
function headerOnly(data: Uint8Array, rcode: number): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  header.set(data.subarray(0, 3));
  header[2] = 0x80 | ((data[2] ?? 0) & 0x79);
  header[3] = rcode;
  return header;
}
