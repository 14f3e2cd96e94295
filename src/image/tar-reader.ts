/**
 * Reads tar archives of any origin, piece by piece. Our own because what layers hold is more than the readers at hand
 * give: sparse files of both forms, extended attributes by name, and hard limits on what a hostile archive may ask for.
 */
import {
  badArchive,
  BLOCK,
  type Header,
  type Kind,
  parseHeader,
  parsePax,
  type Piece,
  sparsePieces,
} from './tar-header.ts';

export interface Entry {
  name: string;
  kind: Exclude<Kind, 'pax' | 'pax-global' | 'gnu-name' | 'gnu-link' | 'gnu-sparse'>;
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the file, holes included. */
  size: number;
  /** Seconds since 1970. */
  mtime: number;
  target: string;
  /** Names of extended attributes that it had. */
  attributes: string[];
  /** What of a sparse file there is, in order; absent: all of it. */
  pieces?: Piece[];
  /** Where its content begins in the archive. */
  offset: number;
}

export interface TarReader {
  /** The next entry; what of the last one's content was not read is passed over. Undefined at the end. */
  next(): Promise<Entry | undefined>;
  /** The content of the last entry as it is in the archive: a sparse file without its holes. */
  content(): AsyncGenerator<Buffer>;
}

/** Bytes of the extended headers of an entry, pieces of a sparse file. */
const MAX_EXTENDED = 1 << 20;
const MAX_PIECES = 1 << 16;

/** @throws HeddleError `BadArchive` */
export function createTarReader(source: AsyncIterable<Uint8Array>): TarReader {
  const input = createInput(source);
  const global = new Map<string, Buffer>();
  /** Of the entry that is being read: content, and blocks to fill up. */
  let left = 0;
  let padding = 0;
  /** Bytes of extended headers: of the entry that is being read, and of those for all entries. */
  let extended = 0;
  let forAll = 0;

  function begin(size: number): void {
    left = size;
    padding = (BLOCK - (size % BLOCK)) % BLOCK;
  }

  async function whole(header: Header): Promise<Buffer> {
    extended += header.size;
    if (header.kind === 'pax-global') forAll += header.size;
    const most = Math.max(extended, forAll);
    if (most > MAX_EXTENDED)
      throw badArchive(`extended headers of ${most} bytes in the archive: at most ${MAX_EXTENDED} are read`);
    begin(header.size);
    const bytes = await input.exactly(header.size);
    left = 0;
    return bytes;
  }

  async function pass(): Promise<void> {
    await input.skip(left + padding);
    left = padding = 0;
  }

  async function nextHeader(): Promise<Header | undefined> {
    await pass();
    const block = await input.block();
    // Two blocks of zeros end an archive; many writers leave one, or none, and more may follow to fill up.
    return block === undefined || block.every((byte) => byte === 0) ? undefined : parseHeader(block);
  }

  async function next(): Promise<Entry | undefined> {
    let pax = new Map(global);
    let name: string | undefined;
    let target: string | undefined;
    extended = 0;
    for (;;) {
      const header = await nextHeader();
      if (!header) return drain();
      if (header.kind === 'pax') pax = new Map([...pax, ...parsePax(await whole(header))]);
      else if (header.kind === 'pax-global') {
        for (const [key, value] of parsePax(await whole(header))) {
          global.set(key, value);
          pax.set(key, value);
        }
      } else if (header.kind === 'gnu-name') name = untilNul(await whole(header));
      else if (header.kind === 'gnu-link') target = untilNul(await whole(header));
      else return entryOf(header, pax, { name, target });
    }
  }

  /** What follows the end is read, so that whoever counts or hashes has seen all of it. */
  async function drain(): Promise<undefined> {
    while ((await input.some(1 << 16)).length > 0);
    return undefined;
  }

  async function entryOf(
    header: Header,
    pax: ReadonlyMap<string, Buffer>,
    long: { name: string | undefined; target: string | undefined },
  ): Promise<Entry> {
    const text = (key: string) => (pax.get(key)?.length ? pax.get(key)!.toString('utf8') : undefined);
    const number = (key: string) => paxNumber(key, text(key));
    const isFile = header.kind === 'file' || header.kind === 'gnu-sparse';
    const size = isFile ? (number('size') ?? header.size) : header.size;
    begin(size);
    const entry: Entry = {
      name: text('GNU.sparse.name') ?? text('path') ?? long.name ?? header.name,
      kind: header.kind === 'gnu-sparse' ? 'file' : (header.kind as Entry['kind']),
      mode: header.mode,
      uid: number('uid') ?? header.uid,
      gid: number('gid') ?? header.gid,
      size,
      mtime: number('mtime') ?? header.mtime,
      target: text('linkpath') ?? long.target ?? header.target,
      attributes: [...pax.keys()]
        .filter((key) => key.startsWith('SCHILY.xattr.'))
        .map((key) => key.slice(13)),
      offset: input.position(),
    };
    const sparse = await sparseOf(header, text);
    if (sparse) checkPieces(Object.assign(entry, sparse), left);
    entry.offset = input.position();
    return entry;
  }

  async function sparseOf(
    header: Header,
    text: (key: string) => string | undefined,
  ): Promise<{ size: number; pieces: Piece[] } | undefined> {
    if (header.kind === 'gnu-sparse') return gnuSparse(header);
    if (text('GNU.sparse.major') === '1') {
      const size = paxNumber('GNU.sparse.realsize', text('GNU.sparse.realsize')) ?? 0;
      return { size, pieces: await mapInFront() };
    }
    const map = text('GNU.sparse.map');
    if (map === undefined) {
      // Version 0.0 repeats keys, and no reader of today's writes it.
      if (text('GNU.sparse.offset') !== undefined)
        throw badArchive('a sparse file in the form 0.0 of pax is not read');
      return undefined;
    }
    const numbers = map.split(',').map((one) => paxNumber('GNU.sparse.map', one) ?? 0);
    const size = paxNumber('GNU.sparse.size', text('GNU.sparse.size')) ?? 0;
    return { size, pieces: pairs(numbers) };
  }

  async function gnuSparse({ sparse }: Header): Promise<{ size: number; pieces: Piece[] }> {
    if (!sparse) throw badArchive('a sparse file in the archive has no map');
    const pieces = [...sparse.pieces];
    for (let { more } = sparse; more; ) {
      const block = await input.exactly(BLOCK);
      const part = sparsePieces(block, 0, 21, 504);
      pieces.push(...part.pieces);
      more = part.more;
      if (pieces.length > MAX_PIECES) throw badArchive(`a sparse file of more than ${MAX_PIECES} pieces`);
    }
    return { size: sparse.size, pieces };
  }

  /** Version 1.0 of pax: decimal numbers, a line each, before the content, filled up to a block. */
  async function mapInFront(): Promise<Piece[]> {
    const numbers: number[] = [];
    let count: number | undefined;
    let rest = '';
    while (count === undefined || numbers.length < 2 * count) {
      if (left < BLOCK) throw badArchive('the map of a sparse file in the archive is cut off');
      rest += (await input.exactly(BLOCK)).toString('latin1');
      left -= BLOCK;
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (count !== undefined && numbers.length === 2 * count) break;
        const value = paxNumber('GNU.sparse', line) ?? 0;
        if (count === undefined) count = value;
        else numbers.push(value);
      }
      if ((count ?? 0) > MAX_PIECES) throw badArchive(`a sparse file of more than ${MAX_PIECES} pieces`);
    }
    return pairs(numbers);
  }

  return {
    next,
    async *content() {
      while (left > 0) {
        const chunk = await input.some(left);
        if (chunk.length === 0) throw badArchive('the archive ends in the middle of a file');
        left -= chunk.length;
        yield chunk;
      }
    },
  };
}

const untilNul = (bytes: Buffer): string => bytes.toString('utf8').replace(/\0[^]*$/, '');

function paxNumber(key: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  const good =
    key === 'mtime' ? /^-?\d+(\.\d*)?$/.test(text) : /^\d+$/.test(text) && Number.isSafeInteger(value);
  if (!good)
    throw badArchive(
      `${key} of an entry in the archive is ${JSON.stringify(text.slice(0, 40))}, not a number`,
    );
  return value;
}

function pairs(numbers: readonly number[]): Piece[] {
  if (numbers.length % 2 === 1) throw badArchive('the map of a sparse file in the archive has half a pair');
  return numbers.flatMap((offset, i) => (i % 2 === 0 ? [{ offset, length: numbers[i + 1]! }] : []));
}

/** In order, within the file, and together what the archive has of it. */
function checkPieces({ name, size, pieces = [] }: Entry, stored: number): void {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of pieces) {
    if (offset < end || offset + length > size)
      throw badArchive(`the map of the sparse file ${JSON.stringify(name)} is wrong`);
    end = offset + length;
    sum += length;
  }
  if (sum !== stored)
    throw badArchive(`the sparse file ${JSON.stringify(name)} has other content than its map says`);
}

interface Input {
  /** A whole block; undefined at the end. */
  block(): Promise<Buffer | undefined>;
  exactly(size: number): Promise<Buffer>;
  /** At most `size`; nothing at the end. */
  some(size: number): Promise<Buffer>;
  skip(size: number): Promise<void>;
  position(): number;
}

function createInput(source: AsyncIterable<Uint8Array>): Input {
  const iterator = source[Symbol.asyncIterator]();
  let chunk: Buffer = Buffer.alloc(0);
  let position = 0;

  async function some(size: number): Promise<Buffer> {
    while (chunk.length === 0) {
      const { value, done } = await iterator.next();
      if (done === true) return chunk;
      chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    const part = chunk.subarray(0, size);
    chunk = chunk.subarray(part.length);
    position += part.length;
    return part;
  }

  async function atMost(size: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = size; left > 0; ) {
      const part = await some(left);
      if (part.length === 0) break;
      parts.push(part);
      left -= part.length;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  async function exactly(size: number): Promise<Buffer> {
    const bytes = await atMost(size);
    if (bytes.length < size) throw badArchive('the archive ends too early');
    return bytes;
  }

  return {
    some,
    exactly,
    position: () => position,
    async block() {
      const bytes = await atMost(BLOCK);
      if (bytes.length > 0 && bytes.length < BLOCK)
        throw badArchive('the archive ends in the middle of a header');
      return bytes.length === 0 ? undefined : bytes;
    },
    async skip(size) {
      for (let left = size; left > 0; ) {
        const part = await some(left);
        if (part.length === 0) throw badArchive('the archive ends too early');
        left -= part.length;
      }
    },
  };
}
