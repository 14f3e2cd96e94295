/**
 * The trace that a request belongs to, for the calls made on its behalf: W3C Trace Context (level 1) and B3. Both
 * go on with the same ids; one is begun where none came. Pure but for `random`.
 */
type Headers = Readonly<Record<string, string | string[] | undefined>>;

interface Trace {
  /** 32 hex digits. */
  traceId: string;
  /** B3's word: `0`, `1`, or `d` for debug. */
  sampled: string;
  /** Hex digits as they came: B3 also has ids of 16. */
  b3TraceId: string;
  tracestate?: string;
}

/** Hex digits of `bytes` random bytes, not all zero. */
export type RandomHex = (bytes: number) => string;

/** Headers for one call made while `incoming` is answered: each call is a span of its own. */
export function traceHeaders(incoming: Headers, random: RandomHex): Record<string, string> {
  const trace = fromTraceparent(incoming) ?? fromB3(incoming) ?? begin(incoming, random);
  const spanId = random(8);
  const isMulti = incoming['x-b3-traceid'] !== undefined || incoming['x-b3-sampled'] !== undefined;
  const flags = trace.sampled === '0' ? '00' : '01';
  return {
    traceparent: `00-${trace.traceId}-${spanId}-${flags}`,
    ...(trace.tracestate === undefined ? {} : { tracestate: trace.tracestate }),
    b3: `${trace.b3TraceId}-${spanId}-${trace.sampled}`,
    ...(isMulti ? multi(trace, spanId) : {}),
    ...passedOn(incoming),
  };
}

const multi = ({ b3TraceId, sampled }: Trace, spanId: string): Record<string, string> => ({
  'x-b3-traceid': b3TraceId,
  'x-b3-spanid': spanId,
  ...(sampled === 'd' ? { 'x-b3-flags': '1' } : { 'x-b3-sampled': sampled }),
});

/** Not a part of either, but what proxies find the logs of a request by. */
const passedOn = (incoming: Headers): Record<string, string> => {
  const id = one(incoming, 'x-request-id');
  return id === undefined ? {} : { 'x-request-id': id };
};

const one = (headers: Headers, name: string): string | undefined => {
  const value = headers[name];
  return Array.isArray(value) ? value.join(',') : value;
};

const isZero = (id: string): boolean => /^0+$/.test(id);

/** W3C Trace Context, section 3.2.2: a version above 00 may have more behind the flags; ff is none. */
function fromTraceparent(headers: Headers): Trace | undefined {
  const text = one(headers, 'traceparent') ?? '';
  const [, version, traceId, parentId, flags, more] =
    /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/.exec(text) ?? [];
  if (!version || !traceId || !parentId || !flags || version === 'ff') return undefined;
  if ((version === '00' && more !== undefined) || isZero(traceId) || isZero(parentId)) return undefined;
  const tracestate = one(headers, 'tracestate');
  const sampled = (Number.parseInt(flags, 16) & 1) === 1 ? '1' : '0';
  // Section 3.3: tracestate means something only beside a traceparent that can be read.
  return { traceId, sampled, b3TraceId: traceId, ...(tracestate ? { tracestate } : {}) };
}

function fromB3(headers: Headers): Trace | undefined {
  const single = /^([\da-f]{16}|[\da-f]{32})-([\da-f]{16})(?:-([01d]))?(?:-[\da-f]{16})?$/.exec(
    one(headers, 'b3') ?? '',
  );
  const id = single?.[1] ?? /^(?:[\da-f]{16}){1,2}$/.exec(one(headers, 'x-b3-traceid') ?? '')?.[0];
  if (id === undefined || isZero(id)) return undefined;
  return {
    traceId: id.padStart(32, '0'),
    b3TraceId: id,
    sampled: single ? (single[3] ?? '1') : verdict(headers),
  };
}

/** A verdict may come without ids: it holds for the trace that begins here. */
function verdict(headers: Headers): string {
  if (one(headers, 'x-b3-flags') === '1' || one(headers, 'b3') === 'd') return 'd';
  return one(headers, 'x-b3-sampled') === '0' || one(headers, 'b3') === '0' ? '0' : '1';
}

function begin(headers: Headers, random: RandomHex): Trace {
  const traceId = random(16);
  return { traceId, b3TraceId: traceId, sampled: verdict(headers) };
}
