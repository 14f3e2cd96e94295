/** Ranges without others, as the fewest ranges. */
import { bits, type Cidr, contains, firstOf } from '../../lib/ip.ts';

/** More are not told one by one. */
const ENOUGH = 256;

/** Undefined if there would be too many. Exceptions that lie elsewhere change nothing. */
export function subtract(cidr: Cidr, except: readonly Cidr[]): Cidr[] | undefined {
  const result: Cidr[] = [];
  const visit = (range: Cidr, holes: readonly Cidr[]): boolean => {
    if (holes.some((hole) => hole.length <= range.length && contains(hole, firstOf(range)))) return true;
    const inside = holes.filter((hole) => hole.length > range.length && contains(range, firstOf(hole)));
    if (inside.length === 0) return result.push(range) <= ENOUGH;
    return halves(range).every((half) => visit(half, inside));
  };
  return visit(
    cidr,
    except.filter(({ family }) => family === cidr.family),
  )
    ? result
    : undefined;
}

function halves(range: Cidr): Cidr[] {
  const length = range.length + 1;
  const first = firstOf(range).value;
  const step = 1n << BigInt(bits(range.family) - length);
  return [first, first + step].map((value) => ({ ...range, value, length }));
}
