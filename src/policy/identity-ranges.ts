/** Prefixes inside prefixes as a list of ranges that do not overlap, for sets that know no longest match. */
import { type Cidr, type Family, firstOf, formatAddress, lastOf, parseCidr } from '../lib/ip.ts';
import { walkNested } from './blocks.ts';
import type { IdentityRange, PolicyTables } from './tables.ts';

/** Ascending, both ends inclusive, as few as can be. What is in no range has identity 0. */
export function identityRanges(tables: PolicyTables, family: Family): IdentityRange[] {
  const prefixes = [...tables.identities]
    .map(([text, identity]) => ({ cidr: parseCidr(text), identity }))
    .filter(({ cidr }) => cidr.family === family);
  return joinRuns(edgesOf(prefixes))
    .filter(({ identity }) => identity !== 0)
    .map(({ first, last, identity }) => ({
      family,
      first: formatAddress({ family, value: first }),
      last: formatAddress({ family, value: last }),
      identity,
    }));
}

interface Run {
  first: bigint;
  last: bigint;
  identity: number;
}

interface Open {
  readonly cidr: Cidr;
  readonly identity: number;
}

/** Runs of one identity from 0 without a gap, ascending; neighbours may be of the same one. */
function edgesOf(prefixes: Open[]): Run[] {
  const runs: Run[] = [];
  const open: Open[] = [];
  let at = 0n;
  const emit = (until: bigint, identity: number) => {
    if (at < until) runs.push({ first: at, last: until - 1n, identity });
    if (at < until) at = until;
  };
  const closeBefore = (start: bigint | undefined) => {
    for (let top = open.at(-1); top; top = open.at(-1)) {
      const end = lastOf(top.cidr).value + 1n;
      if (start !== undefined && end > start) return;
      emit(end, top.identity);
      open.pop();
    }
  };
  walkNested(prefixes, (prefix) => {
    const start = firstOf(prefix.cidr).value;
    closeBefore(start);
    emit(start, open.at(-1)?.identity ?? 0);
    open.push(prefix);
  });
  closeBefore(undefined);
  return runs;
}

function joinRuns(runs: readonly Run[]): Run[] {
  const joined: Run[] = [];
  for (const run of runs) {
    const before = joined.at(-1);
    if (before?.identity === run.identity) before.last = run.last;
    else joined.push({ ...run });
  }
  return joined;
}
