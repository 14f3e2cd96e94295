/** How layers and archives are compressed, by their first bytes. */
import { Readable, type Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { HeddleError } from '../lib/errors.ts';
import { badArchive } from './tar-header.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

/** RFC 1952 (2.3.1), RFC 8878 (3.1.1). @throws HeddleError `BadArchive` for those that are not read */
export function compressionOf(first: Uint8Array): Compression {
  const magic = Buffer.from(first).toString('hex');
  if (magic.startsWith('1f8b')) return 'gzip';
  if (magic.startsWith('28b52ffd') || /^5.2a4d18/.test(magic)) return 'zstd';
  const other = magic.startsWith('425a68') ? 'bzip2' : magic.startsWith('fd377a58') ? 'xz' : undefined;
  if (other) throw badArchive(`compressed with ${other}: gzip and zstd are read`);
  return 'none';
}

export const decompressor = (kind: 'gzip' | 'zstd'): Transform =>
  kind === 'gzip' ? createGunzip() : createZstdDecompress();

/** The bytes of `source`, decompressed if they are compressed. `source` is read to its end. */
export async function* plain(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]();
  let first: Buffer = Buffer.alloc(0);
  while (first.length < 4) {
    const { value, done } = await iterator.next();
    if (done === true) break;
    first = Buffer.concat([first, value]);
  }
  async function* all(): AsyncGenerator<Buffer> {
    if (first.length > 0) yield first;
    for (;;) {
      const { value, done } = await iterator.next();
      if (done === true) return;
      yield value;
    }
  }
  const kind = compressionOf(first.subarray(0, 4));
  if (kind === 'none') yield* all();
  else {
    const input = Readable.from(all(), { objectMode: false });
    const output = decompressor(kind);
    input.on('error', (error) => output.destroy(error));
    try {
      yield* input.pipe(output) as AsyncIterable<Buffer>;
    } catch (error) {
      if (error instanceof HeddleError) throw error;
      throw badArchive(`its ${kind} data are damaged (${(error as Error).message})`);
    } finally {
      input.destroy();
      output.destroy();
    }
  }
}
