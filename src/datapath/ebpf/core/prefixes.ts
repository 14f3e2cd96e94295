const PORT_BITS = 16;

/** The fewest prefixes that together are the ports from `first` to `last`, at most 30. */
export function portPrefixes([first, last]: readonly [number, number]): { first: number; length: number }[] {
  const out: { first: number; length: number }[] = [];
  for (let at = first; at <= last; ) {
    let size = 1;
    while (size < 0x10000 && at % (size * 2) === 0 && at + size * 2 - 1 <= last) size *= 2;
    out.push({ first: at, length: PORT_BITS - Math.log2(size) });
    at += size;
  }
  return out;
}

/** From `first` to `last`. */
export const portsOf = ([first, last]: readonly [number, number]): number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);
