/** Items by the terms that they have, or that they want one of. */
export interface TermIndex<T> {
  /** @param terms undefined: it is found by whatever is looked for */
  add(item: T, terms: ReadonlySet<string> | undefined): void;
  /** With the terms that it was added with. */
  remove(item: T, terms: ReadonlySet<string> | undefined): void;
  /** Those that have one of these terms. */
  having(terms: ReadonlySet<string>): ReadonlySet<T>;
}

export function createTermIndex<T>(): TermIndex<T> {
  const always = new Set<T>();
  const byTerm = new Map<string, Set<T>>();
  return {
    add(item, terms) {
      if (!terms) always.add(item);
      for (const term of terms ?? []) {
        const known = byTerm.get(term);
        if (known) known.add(item);
        else byTerm.set(term, new Set([item]));
      }
    },
    remove(item, terms) {
      if (!terms) always.delete(item);
      for (const term of terms ?? []) {
        const known = byTerm.get(term);
        known?.delete(item);
        if (known?.size === 0) byTerm.delete(term);
      }
    },
    having(terms) {
      const found = new Set(always);
      for (const term of terms) for (const item of byTerm.get(term) ?? []) found.add(item);
      return found;
    },
  };
}
