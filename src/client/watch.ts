/**
 * A watch: one JSON event a line on a long response. Nothing is buffered beyond the stream's own mark and one
 * line: a slow reader slows the server's socket, and the server decides.
 */
import type { IncomingMessage } from 'node:http';
import { StringDecoder } from 'node:string_decoder';
import type { Kind } from '../api/kinds.ts';
import { HeddleError } from '../lib/errors.ts';
import { errorFromBody, errorFromStatus } from './api-error.ts';
import { collectionPath, selectorQuery, withQuery } from './path.ts';
import type { Transport } from './transport.ts';
import type { WatchEvent, WatchOptions } from './types.ts';

/** etcd refuses objects over 1.5 MB; a line may hold one with its escapes. */
const MAX_LINE = 16 * 1024 * 1024;
const HEAD_TIMEOUT_MS = 30_000;

/** Complete lines of a chunked text; keeps the unfinished one. @throws HeddleError `ApiBadAnswer` beyond `max` */
export function createLineSplitter(max: number = MAX_LINE): (chunk: Buffer) => string[] {
  const decoder = new StringDecoder('utf8');
  let rest: string[] = [];
  let restLength = 0;
  return (chunk) => {
    const lines = decoder.write(chunk).split('\n');
    const last = lines.pop() ?? '';
    if (lines.length > 0) {
      lines[0] = rest.join('') + lines[0];
      rest = [];
      restLength = 0;
    }
    rest.push(last);
    restLength += last.length;
    if (restLength > max)
      throw new HeddleError('ApiBadAnswer', `a watch event is longer than ${max} characters`);
    return lines.filter((line) => line.trim() !== '');
  };
}

/** @throws ApiError for an event of type ERROR; HeddleError `ApiBadAnswer` */
export function parseEvent<T>(line: string, what: string): WatchEvent<T> {
  let event: { type?: unknown; object?: unknown } | null;
  try {
    event = JSON.parse(line);
  } catch (error) {
    throw new HeddleError('ApiBadAnswer', `${what} sent a line that is no JSON: ${line.slice(0, 80)}`, {
      cause: error,
    });
  }
  if (event?.type === 'ERROR') throw errorFromStatus(event.object, 500, what);
  if (typeof event?.type !== 'string' || typeof event.object !== 'object' || event.object === null)
    throw new HeddleError('ApiBadAnswer', `${what} sent a line that is no event: ${line.slice(0, 80)}`);
  return event as WatchEvent<T>;
}

export async function* watchEvents<T>(
  transport: Transport,
  kind: Kind<T>,
  options: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent<T>, void, void> {
  const timeoutSeconds = options.timeoutSeconds ?? 300 + Math.floor(Math.random() * 300);
  const path = withQuery(collectionPath(kind, options.namespace), {
    ...selectorQuery(options),
    watch: 1,
    allowWatchBookmarks: true,
    resourceVersion: options.resourceVersion,
    timeoutSeconds,
  });
  const what = `watch of ${path}`;
  if (signal.aborted) return;
  const response = await transport.open({
    method: 'GET',
    path,
    headers: { accept: 'application/json' },
    signal,
    headTimeoutMs: HEAD_TIMEOUT_MS,
    long: true,
  });
  if (response.statusCode !== 200) throw await refusal(response, what);
  // Ended here if the server forgets to, and if it says nothing at all, not even a bookmark.
  const end = setTimeout(() => response.destroy(), (timeoutSeconds + 30) * 1000);
  const { socket } = response;
  const onIdle = () => response.destroy();
  socket.setTimeout(options.idleTimeoutMs ?? 120_000, onIdle);
  try {
    const split = createLineSplitter();
    for await (const chunk of response as AsyncIterable<Buffer>)
      for (const line of split(chunk)) yield parseEvent<T>(line, what);
  } catch (error) {
    if (!signal.aborted && !isCut(error)) throw error;
  } finally {
    clearTimeout(end);
    // The connection may be kept for the next watch.
    socket.setTimeout(0);
    socket.off('timeout', onIdle);
    response.destroy();
  }
}

/** A connection that ends is how watches end; what was missed is read by the next one. */
function isCut(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ECONNRESET' || error.code === 'ERR_STREAM_PREMATURE_CLOSE')
  );
}

async function refusal(response: IncomingMessage, what: string): Promise<Error> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    if (chunks.length > 100) break;
  }
  return errorFromBody(response.statusCode ?? 0, Buffer.concat(chunks).toString('utf8'), what);
}
