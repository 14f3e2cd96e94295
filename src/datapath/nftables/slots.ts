/**
 * Backends of a service sit in numbered slots 0 … n-1 of one map, and a connection draws a number. Which backend
 * has which slot is nobody's business, so a change moves as few as it can: one that goes leaves its slot to the
 * last, one that comes goes to the end.
 */
export function assignSlots(
  current: readonly (string | undefined)[],
  wanted: readonly string[],
): readonly string[] {
  const needed = new Set(wanted);
  const slots: (string | undefined)[] = [];
  const moving: string[] = [];
  for (const [i, backend] of current.entries()) {
    if (backend === undefined || !needed.delete(backend)) continue;
    if (i < wanted.length) slots[i] = backend;
    else moving.push(backend);
  }
  const rest = [...moving, ...needed];
  return Array.from({ length: wanted.length }, (_, i) => slots[i] ?? rest.shift() ?? '');
}
