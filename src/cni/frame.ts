/**
 * What heddle-cni and the agent say to each other; native/heddle-cni.c holds the other end.
 * Request: `HCNI1 <length>\n`, then `KEY=VALUE\0`…, `\0`, standard input. Reply: `HCNI1 <exit> <length>\n`, output.
 */
import { CniCode, CniError } from './error.ts';

/** Largest request taken, bytes. */
const MAX_FRAME = 8 * 1024 * 1024;
const MAX_HEAD = 32;

export interface RawRequest {
  env: Record<string, string>;
  stdin: Buffer;
}

/** How many bytes the whole frame has; undefined while its head is incomplete. @throws CniError decode */
export function frameLength(received: Buffer): { head: number; body: number } | undefined {
  const end = received.subarray(0, MAX_HEAD).indexOf(0x0a);
  if (end < 0) {
    if (received.length >= MAX_HEAD || !'HCNI1 '.startsWith(received.toString('latin1', 0, 6)))
      throw bad('head');
    return undefined;
  }
  const match = /^HCNI1 (\d{1,9})$/.exec(received.toString('latin1', 0, end));
  if (!match) throw bad('head');
  const body = Number(match[1]);
  if (body > MAX_FRAME) throw bad('length');
  return { head: end + 1, body };
}

/** @throws CniError decode */
export function decodeRequest(body: Buffer): RawRequest {
  const env: Record<string, string> = {};
  for (let at = 0; ; ) {
    const end = body.indexOf(0, at);
    if (end < 0) throw bad('environment');
    if (end === at) return { env, stdin: body.subarray(end + 1) };
    const entry = body.toString('utf8', at, end);
    const equals = entry.indexOf('=');
    if (equals <= 0) throw bad('environment');
    env[entry.slice(0, equals)] = entry.slice(equals + 1);
    at = end + 1;
  }
}

export function encodeRequest(request: RawRequest): Buffer {
  const env = Object.entries(request.env).map(([key, value]) => `${key}=${value}\0`);
  const body = Buffer.concat([Buffer.from(`${env.join('')}\0`), request.stdin]);
  return Buffer.concat([Buffer.from(`HCNI1 ${body.length}\n`), body]);
}

export function encodeReply(exitCode: number, stdout: string): Buffer {
  const body = Buffer.from(stdout);
  return Buffer.concat([Buffer.from(`HCNI1 ${exitCode} ${body.length}\n`), body]);
}

const bad = (part: string) => new CniError(CniCode.decode, `the frame's ${part} is not one of heddle-cni's`);
