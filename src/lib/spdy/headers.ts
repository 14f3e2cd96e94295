/** Name/value header blocks (draft-mbelshe-httpbis-spdy-00, section 2.6.10): one zlib stream for each direction. */
import { constants, createInflate } from 'node:zlib';
import { adler32, dictionary } from './dictionary.ts';

export type Headers = ReadonlyMap<string, string>;

/** Longest block once it is unpacked, bytes, and most names in it. */
const MAX_BLOCK = 64 << 10;
const MAX_NAMES = 128;

export interface HeaderReader {
  /** One block after the other. Rejects for what is no block; then nothing more can be read. */
  read(block: Buffer): Promise<Headers>;
  close(): void;
}

export function createHeaderReader(): HeaderReader {
  const inflate = createInflate({ dictionary, flush: constants.Z_SYNC_FLUSH });
  let parts: Buffer[] = [];
  let size = 0;
  let failure: Error | undefined;
  let giveUp: (error: Error) => void = () => {};
  const take = () => {
    for (let part = inflate.read() as Buffer | null; part; part = inflate.read() as Buffer | null) {
      size += part.length;
      parts.push(part);
      if (size > MAX_BLOCK) inflate.destroy(new Error(`a header block is longer than ${MAX_BLOCK} bytes`));
    }
  };
  inflate.on('readable', take);
  inflate.on('error', (error) => giveUp((failure ??= error)));
  return {
    read: (block) =>
      new Promise((resolve, reject) => {
        if (failure) return reject(failure);
        giveUp = reject;
        [parts, size] = [[], 0];
        inflate.write(block, (error) => {
          if (error) return reject(error);
          take();
          if (failure || inflate.destroyed) return;
          try {
            resolve(parseBlock(Buffer.concat(parts)));
          } catch (wrong) {
            reject(wrong);
          }
        });
      }),
    close: () => inflate.destroy(),
  };
}

/** @throws Error */
function parseBlock(block: Buffer): Headers {
  const found = new Map<string, string>();
  let at = 0;
  const number = () => {
    if (at + 4 > block.length) throw new Error('a header block is cut off');
    at += 4;
    return block.readUInt32BE(at - 4);
  };
  const text = () => {
    const length = number();
    if (at + length > block.length) throw new Error('a header block is cut off');
    at += length;
    return block.toString('latin1', at - length, at);
  };
  const count = number();
  if (count > MAX_NAMES) throw new Error(`a header block has ${count} names; ${MAX_NAMES} are taken`);
  for (let i = 0; i < count; i++) {
    const name = text();
    if (name === '' || name !== name.toLowerCase() || found.has(name))
      throw new Error(`the header name ${JSON.stringify(name)} is empty, not in lower case, or there twice`);
    found.set(name, text());
  }
  return found;
}

/** Packs blocks as they are: what we send is short, and packing would need what was sent before. */
export function createHeaderWriter(): (headers: Headers) => Buffer {
  let begun = false;
  return (headers) => {
    const block = encodeBlock(headers);
    // RFC 1951, section 3.2.4: a stored block that is not the last.
    const stored = Buffer.alloc(5);
    stored.writeUInt16LE(block.length, 1);
    stored.writeUInt16LE(~block.length & 0xffff, 3);
    const parts = [...(begun ? [] : [beginning()]), stored, block, FLUSH];
    begun = true;
    return Buffer.concat(parts);
  };
}

/** A stored block of nothing, as Z_SYNC_FLUSH leaves it: there Go's reader hands on what it has. */
const FLUSH = Buffer.from([0, 0, 0, 0xff, 0xff]);

/** RFC 1950, section 2.2: deflate, a window of 32 KiB, and whose dictionary. */
function beginning(): Buffer {
  const bytes = Buffer.from([0x78, 0xbb, 0, 0, 0, 0]);
  bytes.writeUInt32BE(adler32(dictionary), 2);
  return bytes;
}

function encodeBlock(headers: Headers): Buffer {
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const text = (value: string) => [number(Buffer.byteLength(value, 'latin1')), Buffer.from(value, 'latin1')];
  return Buffer.concat([number(headers.size), ...[...headers].flatMap((pair) => pair.flatMap(text))]);
}
