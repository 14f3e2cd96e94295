/** For tests: as much of the CRI (runtime.v1 over gRPC) as makes, looks at and removes pod sandboxes. */
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { createConnection } from 'node:net';

type Field = readonly [number: number, value: number | string | Buffer];

/** Protocol Buffers: numbers as varints, texts and messages by length. */
export const message = (...fields: readonly Field[]): Buffer =>
  Buffer.concat(
    fields.flatMap(([number, value]) => {
      if (typeof value === 'number') return [varint(number << 3), varint(value)];
      const bytes = Buffer.from(value);
      return [varint((number << 3) | 2), varint(bytes.length), bytes];
    }),
  );

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}

/** Fields of length-delimited kinds, by number. */
export function parts(data: Buffer): Map<number, Buffer[]> {
  const found = new Map<number, Buffer[]>();
  let at = 0;
  const next = (): number => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = data[at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const key = next();
    const kind = key & 7;
    if (kind === 0) next();
    else if (kind === 2) {
      const length = next();
      const number = key >>> 3;
      found.set(number, [...(found.get(number) ?? []), data.subarray(at, at + length)]);
      at += length;
    } else throw new Error(`a field of kind ${kind} was not expected`);
  }
  return found;
}

export interface Cri {
  /** Of runtime.v1.RuntimeService. Rejects with the server's words. */
  call(method: string, request: Buffer): Promise<Buffer>;
  close(): void;
}

export function openCri(socket: string): Cri {
  const session: ClientHttp2Session = connect('http://localhost', {
    createConnection: () => createConnection(socket),
  });
  session.on('error', () => {});
  return {
    call: (method, request) =>
      new Promise((resolve, reject) => {
        const stream = session.request({
          [constants.HTTP2_HEADER_METHOD]: 'POST',
          [constants.HTTP2_HEADER_PATH]: `/runtime.v1.RuntimeService/${method}`,
          'content-type': 'application/grpc',
          te: 'trailers',
        });
        const head = Buffer.alloc(5);
        head.writeUInt32BE(request.length, 1);
        const chunks: Buffer[] = [];
        let failure = '';
        const judge = (headers: Readonly<Record<string, unknown>>) => {
          const status = headers['grpc-status'];
          if (status !== undefined && status !== '0')
            failure = `${method}: ${decodeURIComponent(String(headers['grpc-message']))}`;
        };
        stream.on('response', judge);
        stream.on('trailers', judge);
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('error', reject);
        stream.on('end', () =>
          failure === '' ? resolve(Buffer.concat(chunks).subarray(5)) : reject(new Error(failure)),
        );
        stream.end(Buffer.concat([head, request]));
      }),
    close: () => session.close(),
  };
}
