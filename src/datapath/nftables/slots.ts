/**
 * Backends of a service sit in numbered slots 0 … n-1 of one map, and a connection draws a number. Which backend
 * has which slot is nobody's business, so a change moves as few as it can: one that goes leaves its slots to the
 * last, one that comes goes to the end. One that weighs more has more slots.
 */
export function assignSlots(
  current: readonly (string | undefined)[],
  wanted: readonly string[],
): readonly string[] {
  const needed = new Map<string, number>();
  for (const backend of wanted) needed.set(backend, (needed.get(backend) ?? 0) + 1);
  const take = (backend: string): boolean => {
    const left = needed.get(backend) ?? 0;
    if (left > 0) needed.set(backend, left - 1);
    return left > 0;
  };
  const slots: (string | undefined)[] = [];
  const moving: string[] = [];
  for (const [i, backend] of current.entries()) {
    if (backend === undefined || !take(backend)) continue;
    if (i < wanted.length) slots[i] = backend;
    else moving.push(backend);
  }
  const rest = [...moving, ...[...needed].flatMap(([backend, left]) => Array<string>(left).fill(backend))];
  return Array.from({ length: wanted.length }, (_, i) => slots[i] ?? rest.shift() ?? '');
}
