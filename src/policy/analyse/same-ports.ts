/** Which rules speak of ports in common: what others say of theirs changes nothing of what a rule decides. */
import type { PortEntry } from '../entries.ts';
import type { PortMatch, Rule } from '../model.ts';

/** Whether a port may be one of both. What a name means is not asked. */
export const mayMeet = ({ ports: a }: Rule, { ports: b }: Rule): boolean =>
  a === null || b === null || a.some((one) => b.some((other) => mayBeBoth(one, other)));

function mayBeBoth(a: PortMatch, b: PortMatch): boolean {
  if ('protocolNumber' in a || 'protocolNumber' in b) return true;
  if (a.protocol !== b.protocol) return false;
  return !('first' in a) || !('first' in b) || (a.first <= b.last && b.first <= a.last);
}

/** Of entries of one peer those that decide something of what `own` does. */
export function decidingOf(entries: readonly PortEntry[], own: readonly PortEntry[]): readonly PortEntry[] {
  if (own.some(({ protocol }) => protocol === null)) return entries;
  const deciding = new Set<PortEntry>();
  for (const mine of own) {
    let left = sizeOf(mine);
    for (const entry of entries) {
      const common = entry.protocol === mine.protocol ? inCommon(entry, mine) : 0;
      if (common > 0) deciding.add(entry);
      left -= common;
    }
    const rest = entries.find(({ protocol }) => protocol === null);
    if (left > 0 && rest) deciding.add(rest);
  }
  return [...deciding];
}

const EVERY_PORT = [0, 65_535] as const;

const sizeOf = ({ ports }: PortEntry): number => inCommon({ ports }, { ports });

function inCommon({ ports: a }: Pick<PortEntry, 'ports'>, { ports: b }: Pick<PortEntry, 'ports'>): number {
  const [[first, last], [from, to]] = [a ?? EVERY_PORT, b ?? EVERY_PORT];
  return Math.max(0, Math.min(last, to) - Math.max(first, from) + 1);
}
