/** AS_PATH in two and four octets, and what joins them (RFC 4271 section 4.3, RFC 6793 section 4.2). */
import { type PathSegment, pathLength } from './attributes.ts';
import { AS_TRANS } from './codes.ts';

const types: Readonly<Record<number, PathSegment['type']>> = { 1: 'set', 2: 'sequence' };

/**
 * A text is what is wrong with it: it is malformed where a segment is cut off, is empty, or has a type not known
 * here (RFC 7606 section 7.2; confederations are not spoken), and where it names AS 0 (RFC 7607).
 */
export function decodeAsPath(data: Buffer, size: 2 | 4): PathSegment[] | string {
  const path: PathSegment[] = [];
  for (let at = 0; at < data.length; ) {
    const type = types[data[at] ?? 0];
    const count = data[at + 1] ?? 0;
    if (!type) return `segment of type ${data[at]}`;
    if (count === 0) return 'empty segment';
    if (at + 2 + count * size > data.length) return 'segment is cut off';
    const as: number[] = [];
    for (let i = 0; i < count; i++) as.push(data.readUIntBE(at + 2 + i * size, size));
    if (as.includes(0)) return 'AS 0';
    path.push({ type, as });
    at += 2 + count * size;
  }
  return path;
}

export function encodeAsPath(path: readonly PathSegment[], size: 2 | 4): Buffer {
  return Buffer.concat(
    path.map(({ type, as }) => {
      const out = Buffer.alloc(2 + as.length * size);
      out[0] = type === 'set' ? 1 : 2;
      out[1] = as.length;
      as.forEach((one, i) =>
        out.writeUIntBE(size === 2 && one > 0xffff ? AS_TRANS : one, 2 + i * size, size),
      );
      return out;
    }),
  );
}

export const needsFourOctets = (path: readonly PathSegment[]): boolean =>
  path.some(({ as }) => as.some((one) => one > 0xffff));

/** What a speaker of two octets passed on in AS4_PATH, behind what it and its like have put before. */
export function mergeAs4Path(
  path: readonly PathSegment[],
  as4: readonly PathSegment[],
): readonly PathSegment[] {
  let missing = pathLength(path) - pathLength(as4);
  if (missing < 0) return path;
  const head: PathSegment[] = [];
  for (const segment of path) {
    if (missing <= 0) break;
    const as = segment.type === 'set' ? segment.as : segment.as.slice(0, missing);
    head.push({ type: segment.type, as });
    missing -= segment.type === 'set' ? 1 : as.length;
  }
  return joinSequences([...head, ...as4]);
}

function joinSequences(path: readonly PathSegment[]): PathSegment[] {
  const out: PathSegment[] = [];
  for (const segment of path) {
    const last = out.at(-1);
    if (last?.type === 'sequence' && segment.type === 'sequence' && last.as.length + segment.as.length <= 255)
      out[out.length - 1] = { type: 'sequence', as: [...last.as, ...segment.as] };
    else out.push(segment);
  }
  return out;
}
