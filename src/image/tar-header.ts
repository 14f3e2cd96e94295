/** One header block of a tar archive: ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU. Pure. */
import { HeddleError } from '../lib/errors.ts';

export const BLOCK = 512;

export type Kind =
  | 'file'
  | 'link'
  | 'symlink'
  | 'char'
  | 'block'
  | 'folder'
  | 'fifo'
  | 'pax'
  | 'pax-global'
  | 'gnu-name'
  | 'gnu-link'
  | 'gnu-sparse'
  | 'other';

export interface Header {
  readonly name: string;
  readonly kind: Kind;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow. */
  readonly size: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly target: string;
  /** Of an old GNU sparse file: the whole length, the first pieces, and whether more follow. */
  readonly sparse?: { readonly size: number; readonly pieces: Piece[]; readonly more: boolean };
}

/** Where a piece of a sparse file lies in it. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
}

const KINDS: Readonly<Record<string, Kind>> = {
  '0': 'file',
  '\0': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'folder',
  '6': 'fifo',
  '7': 'file',
  x: 'pax',
  g: 'pax-global',
  L: 'gnu-name',
  K: 'gnu-link',
  S: 'gnu-sparse',
};

export const badArchive = (words: string): HeddleError =>
  new HeddleError('BadArchive', words, {
    hint: 'was it copied in full? make it again with "docker save" or "skopeo copy"',
  });

/** Up to the first NUL. */
function textAt(block: Buffer, at: number, length: number): string {
  const part = block.subarray(at, at + length);
  const end = part.indexOf(0);
  return part.toString('utf8', 0, end < 0 ? length : end);
}

/** Octal digits, or GNU's binary numbers, of which the first bit is set. */
export function numberAt(block: Buffer, at: number, length: number): number {
  const first = block[at]!;
  if (first >= 0x80) {
    let value = first === 0xff ? -1 : first & 0x7f;
    for (let i = 1; i < length; i++) value = value * 256 + block[at + i]!;
    if (!Number.isSafeInteger(value)) throw badArchive('a number in the archive is too large');
    return value;
  }
  const text = textAt(block, at, length).trim();
  if (!/^[0-7]*$/.test(text))
    throw badArchive(`${JSON.stringify(text)} in the archive is not an octal number`);
  return text === '' ? 0 : Number.parseInt(text, 8);
}

/** @throws HeddleError `BadArchive` */
export function parseHeader(block: Buffer): Header {
  checkSum(block);
  const magic = block.toString('latin1', 257, 263);
  const isGnu = magic === 'ustar ';
  const prefix = magic === 'ustar\0' ? textAt(block, 345, 155) : '';
  const own = textAt(block, 0, 100);
  const kind = KINDS[String.fromCharCode(block[156]!)] ?? 'other';
  const size = numberAt(block, 124, 12);
  if (size < 0) throw badArchive(`${JSON.stringify(own)} in the archive has a negative size`);
  const name = prefix === '' ? own : `${prefix}/${own}`;
  return {
    name,
    // Of old a folder was a file whose name ends so.
    kind: kind === 'file' && name.endsWith('/') ? 'folder' : kind,
    mode: numberAt(block, 100, 8) & 0o7777,
    uid: numberAt(block, 108, 8),
    gid: numberAt(block, 116, 8),
    size: ['link', 'symlink', 'char', 'block', 'folder', 'fifo'].includes(kind) ? 0 : size,
    mtime: numberAt(block, 136, 12),
    target: textAt(block, 157, 100),
    ...(isGnu && kind === 'gnu-sparse'
      ? { sparse: { size: numberAt(block, 483, 12), ...sparsePieces(block, 386, 4, 482) } }
      : {}),
  };
}

/** Pairs of offset and length, 12 bytes each; a byte behind says whether another block follows. */
export function sparsePieces(
  block: Buffer,
  at: number,
  count: number,
  more: number,
): { pieces: Piece[]; more: boolean } {
  const pieces: Piece[] = [];
  for (let i = 0; i < count; i++) {
    const from = at + 24 * i;
    if (block[from] === 0) break;
    pieces.push({ offset: numberAt(block, from, 12), length: numberAt(block, from + 12, 12) });
  }
  return { pieces, more: block[more] !== 0 };
}

function checkSum(block: Buffer): void {
  let sum = 0;
  for (const [i, byte] of block.entries()) sum += i >= 148 && i < 156 ? 0x20 : byte;
  if (numberAt(block, 148, 8) !== sum) throw badArchive('a header of the archive has a wrong checksum');
}

/** `LENGTH KEY=VALUE\n`, one after the other; values may hold anything. @throws HeddleError `BadArchive` */
export function parsePax(bytes: Buffer): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const blank = bytes.indexOf(0x20, at);
    const digits = blank < 0 ? '' : bytes.toString('latin1', at, blank);
    const length = Number(digits);
    const end = at + length;
    const equals = bytes.indexOf(0x3d, blank);
    if (
      !/^\d{1,9}$/.test(digits) ||
      end > bytes.length ||
      bytes[end - 1] !== 0x0a ||
      equals < 0 ||
      equals >= end
    )
      throw badArchive('an extended header of the archive is not in the form of pax');
    found.set(bytes.toString('utf8', blank + 1, equals), Buffer.from(bytes.subarray(equals + 1, end - 1)));
    at = end;
  }
  return found;
}
