/** Request bodies: bounded in size and depth, JSON or YAML. */
import type { IncomingMessage } from 'node:http';
import { parse as parseYaml } from 'yaml';
import { errorText } from '../lib/errors.ts';
import { decodeProtobuf, PROTOBUF } from './protobuf/decode.ts';
import { badRequest, tooLarge, unsupportedMediaType } from './failure.ts';

/** Bytes; the same as Kubernetes. */
const MAX_BODY = 3 * 1024 * 1024;
/** Objects and lists within each other. */
export const MAX_DEPTH = 200;

/** What a request carries, as text. */
export interface Body {
  readonly text: string;
  /** Media type, in lower case and without parameters. */
  readonly type: string;
}

/** Protobuf is turned into the JSON it stands for. @throws ApiFailure 400, 413, 415 */
export async function readBody(request: IncomingMessage): Promise<Body> {
  const bytes = await readBytes(request);
  const type = mediaType(request);
  if (type === PROTOBUF) return { text: JSON.stringify(decodeProtobuf(bytes)), type: 'application/json' };
  return { text: bytes.toString('utf8'), type };
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY) throw tooLarge(MAX_BODY);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw tooLarge(MAX_BODY);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const mediaType = (request: IncomingMessage): string =>
  (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();

const JSON_TYPES = new Set(['', 'application/json', '*/*']);
const YAML_TYPES = new Set(['application/yaml', 'text/yaml', 'application/x-yaml']);

/** @throws ApiFailure 400 with the position, 415 */
export function parseBody(text: string, type: string): unknown {
  if (YAML_TYPES.has(type)) return parsed('yaml', () => parseYaml(text));
  if (JSON_TYPES.has(type)) return parsed('json', () => JSON.parse(text));
  throw unsupportedMediaType(['application/json', 'application/yaml']);
}

/** @throws ApiFailure 400 */
export function parseJson(text: string): unknown {
  return parsed('json', () => JSON.parse(text));
}

function parsed(format: string, parse: () => unknown): unknown {
  let value: unknown;
  try {
    value = parse();
  } catch (error) {
    throw badRequest(
      `the object provided is unrecognized: couldn't get version/kind; ${format} parse error: ${errorText(error)}`,
    );
  }
  if (deeperThan(value, MAX_DEPTH))
    throw badRequest(`the object provided is nested deeper than ${MAX_DEPTH} levels`);
  return value;
}

function deeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const member of Object.values(value)) if (deeperThan(member, levels - 1)) return true;
  return false;
}
